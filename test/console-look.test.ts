/**
 * Every page of the web console in light, dark and narrow, judged by axe-core, and used with nothing but the keyboard.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ImageObject, ImageSpec } from "../src/service/model/image.ts";
import { ConsolePage, launchChromium } from "./support/console-browser.ts";
import { makeRawDisk } from "./support/disks.ts";
import { eventually } from "./support/pod.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { temporaryDirectory, tool } from "./support/tools.ts";

const images = "/apis/virtualization.deckhouse.io/v1alpha2";

let browser: Browser;
let server: ServeProcess;

/** Images in the phases that look different; the names are as long as names get. */
beforeAll(async () => {
  [server, browser] = await Promise.all([ServeProcess.start(), launchChromium()]);
  await using directory = await temporaryDirectory();
  const upload: ImageSpec = { dataSource: { type: "Upload" } };
  await apply("ready", upload);
  await apply("a-name-that-is-quite-long-as-those-of-images-tend-to-be-20261121-amd64", {
    dataSource: { type: "HTTP", http: { url: "https://127.0.0.1:1/none.qcow2", caBundle: "YWFhCg==" } },
  });
  await apply("waiting", upload);
  await apply("broken", upload);
  await curl("ready", await makeRawDisk(join(directory.path, "disk.raw"), 8));
  const broken = join(directory.path, "broken.qcow2");
  await writeFile(broken, Buffer.concat([Buffer.from("QFI\xfb\0\0\0\x09", "latin1"), Buffer.alloc(4096)]));
  await curl("broken", broken);
  await eventually(async () => (await image("ready")).status?.phase === "Ready");
  await eventually(async () => (await image("broken")).status?.phase === "Failed");
});
afterAll(async () => {
  await browser.close();
  await server[Symbol.asyncDispose]();
});

const image = (name: string): Promise<ImageObject> =>
  server.json<ImageObject>(`${images}/clustervirtualimages/${name}`);

async function apply(name: string, spec: ImageSpec): Promise<void> {
  await server.json(`${images}/clustervirtualimages`, "POST", {
    apiVersion: "virtualization.deckhouse.io/v1alpha2",
    kind: "ClusterVirtualImage",
    metadata: { name },
    spec,
  });
}

/** Uploads as the manual says. */
async function curl(name: string, file: string): Promise<void> {
  const url = await eventually(async () => (await image(name)).status?.imageUploadURLs?.external);
  await tool("curl", "-s", url, "-T", file);
}

const pages: readonly (readonly [name: string, path: string, prepare?: (page: Page) => Promise<void>])[] = [
  ["list", "/", (page) => page.locator("tr[data-name=ready] [data-phase=Ready]").waitFor()],
  ["create", "/create"],
  [
    "create-secret",
    "/create",
    async (page) => {
      await page.getByLabel("Load data from container image").check();
      await page.getByLabel("Pull secret").selectOption("A new secret");
      await page.getByText("Certificate authority").click();
    },
  ],
  ["create-existing", "/create", (page) => page.getByLabel("From an existing image").check()],
  [
    "create-upload",
    "/create",
    async (page) => {
      await page.getByLabel("Upload from Computer").check();
      await page.getByRole("radio", { name: /^VirtualImage/ }).check();
      await page.getByText("The same with kubectl").click();
    },
  ],
  ["image", "/images/cvi/ready", (page) => page.getByText("DataSourceImportCompleted").waitFor()],
  ["image-waiting", "/images/cvi/waiting", (page) => page.getByText("Choose a file").waitFor()],
  ["image-broken", "/images/cvi/broken", (page) => page.locator(".why").waitFor()],
  ["image-none", "/images/vi/nowhere/none", (page) => page.getByText("There is no image of this name").waitFor()],
  [
    "delete",
    "/",
    async (page) => {
      await page.getByRole("button", { name: "Delete waiting" }).click();
      await page.getByRole("dialog").waitFor();
    },
  ],
];

describe.each([
  ["light", 1200],
  ["dark", 1200],
  ["light", 360],
  ["dark", 360],
] as const)("in %s, %i pixels wide", (colorScheme, width) => {
  it("has no violation that axe-core finds, and nothing to scroll sideways for", async () => {
    await using opened = await ConsolePage.open(browser, server.url, "/", {
      colorScheme,
      viewport: { width, height: 760 },
    });
    const found: Record<string, unknown> = {};
    for (const [name, path, prepare] of pages) {
      await opened.goto(path);
      await prepare?.(opened.page);
      const [violations, overflow] = [await opened.violations(), await opened.overflow()];
      if (violations.length > 0 || overflow > 0) found[name] = { violations, overflow };
      await opened.picture(`${name}-${colorScheme}-${width}`);
    }
    expect(found).toEqual({});
    expect(opened.faults).toEqual([]);
  });
});

describe("colours", () => {
  it("follow the system until they are chosen, and the choice is kept", async () => {
    await using opened = await ConsolePage.open(browser, server.url, "/", { colorScheme: "dark" });
    const { page } = opened;
    const ground = () => page.evaluate("getComputedStyle(document.body).backgroundColor");
    const dark = await ground();
    await page.getByRole("button", { name: /Change to light/ }).click();
    const light = await ground();
    expect(light).not.toBe(dark);
    await opened.goto("/create");
    expect(await ground()).toBe(light);
    await page.getByRole("button", { name: /Change to dark/ }).click();
    expect(await ground()).toBe(dark);
    await page.emulateMedia({ colorScheme: "light" });
    expect(await ground()).toBe(dark);
    await page.getByRole("button", { name: /Change to as the system/ }).click();
    expect(await ground()).toBe(light);
  });
});

describe("with the keyboard only", () => {
  /** Presses Tab until the control with this name has the focus. */
  async function tabTo(page: Page, name: RegExp | string): Promise<void> {
    const matches = (text: string): boolean => (typeof name === "string" ? text === name : name.test(text));
    for (let presses = 0; presses < 60; presses++) {
      await page.keyboard.press("Tab");
      if (matches(String(await page.evaluate(focusedName)))) return;
    }
    throw new Error(`Tab does not reach ${String(name)}`);
  }
  const focusedName =
    "(() => { const it = document.activeElement; return it.getAttribute('aria-label') ?? " +
    "it.labels?.[0]?.innerText ?? it.innerText ?? ''; })()";

  it("an image is created, found and deleted, and the focus is never lost", async () => {
    await using opened = await ConsolePage.open(browser, server.url);
    const { page } = opened;
    await page.locator("tr[data-name=ready]").waitFor();
    await page.keyboard.press("Tab");
    expect(await page.evaluate(focusedName)).toBe("Skip to the content");
    await tabTo(page, /Create Image/);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Create Image" }).waitFor();
    expect(await page.evaluate("document.activeElement.tagName")).toBe("H1");
    await tabTo(page, /Load data from link/);
    for (let choices = 0; choices < 3; choices++) await page.keyboard.press("ArrowDown");
    await tabTo(page, /^Name/);
    await page.keyboard.type("by-keyboard");
    await page.keyboard.press("Enter");
    await page.locator("[data-phase=WaitForUserUpload]").waitFor();
    expect(await page.evaluate("document.activeElement.innerText")).toBe("by-keyboard");
    await tabTo(page, "Choose a file");
    expect(await page.evaluate("getComputedStyle(document.querySelector('.drop')).outlineStyle")).toBe("solid");

    await opened.goto("/");
    await page.locator("tr[data-name=by-keyboard]").waitFor();
    await tabTo(page, "Delete by-keyboard");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog", { name: "Delete by-keyboard?" }).waitFor();
    expect(await page.evaluate(focusedName)).toBe("Cancel");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    expect(await page.evaluate(focusedName)).toBe("Delete by-keyboard");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Tab");
    expect(await page.evaluate(focusedName)).toBe("Delete");
    await page.keyboard.press("Enter");
    await page.locator("tr[data-name=by-keyboard]").waitFor({ state: "detached" });
    expect(opened.faults).toEqual([]);
  });
});
