/** The web console in real Chromium, against the real `dvcr serve`: everything that a person does there. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ImageObject } from "../src/service/model/image.ts";
import { ConsolePage, launchChromium } from "./support/console-browser.ts";
import { buildDiskImage } from "./support/container-images.ts";
import { fileDigest, makeRawDisk, qemuConvert } from "./support/disks.ts";
import { Origin } from "./support/origin.ts";
import { umociDiskDigest } from "./support/pulled.ts";
import { startRegistry, testUser } from "./support/registry.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { temporaryDirectory, tool } from "./support/tools.ts";

const images = "/apis/virtualization.deckhouse.io/v1alpha2";

let browser: Browser;
let server: ServeProcess;
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let rawDisk: string;
let qcow2: string;

beforeAll(async () => {
  directory = await temporaryDirectory();
  rawDisk = await makeRawDisk(join(directory.path, "disk.raw"), 16);
  qcow2 = await qemuConvert(rawDisk, join(directory.path, "disk.qcow2"), "-O", "qcow2");
  [server, browser] = await Promise.all([ServeProcess.start(), launchChromium()]);
});
afterAll(async () => {
  await browser.close();
  await server[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
});

const open = (path?: string): Promise<ConsolePage> => ConsolePage.open(browser, server.url, path);

async function isReady(page: Page): Promise<void> {
  await page.locator(".phase-card [data-phase=Ready]").waitFor({ timeout: 60_000 });
}

async function create(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Create Image" }).click();
}

const clusterImage = (name: string): Promise<ImageObject> =>
  server.json<ImageObject>(`${images}/clustervirtualimages/${name}`);

/** What the page's own command for skopeo fetches, as the disk's SHA-256. */
async function pulledDisk(page: Page, name: string): Promise<string> {
  const command = await page.getByRole("region", { name: "Copy the image to a directory" }).innerText();
  await using into = await temporaryDirectory();
  await tool("sh", "-c", `cd "$1" && ${command}`, "sh", into.path);
  return await umociDiskDigest(join(into.path, name), "latest", into.path);
}

/** A script that makes the DataTransfer of a dropped file. */
function dropOf(name: string, content: Buffer): string {
  return `(() => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob("${content.toString("base64")}"), (char) => char.charCodeAt(0));
    transfer.items.add(new File([bytes], ${JSON.stringify(name)}));
    return transfer;
  })()`;
}

describe("Create Image", () => {
  it("loads data from a link, shows its way to Ready, and the commands that it shows work", async () => {
    const content = await readFile(qcow2);
    await using origin = await Origin.start(content, () => ({ trickle: true }));
    await using opened = await open();
    const { page } = opened;
    await page.getByRole("heading", { name: "No images yet" }).waitFor();
    await opened.picture("list-empty");
    await page.getByRole("link", { name: "Create Image" }).first().click();
    await page.getByLabel("Load data from link (HTTP)").check();
    await page.getByLabel("URL").fill(`${origin.url}/images/Jammy_Server.qcow2.gz?x=1`);
    expect(await page.getByLabel("Name", { exact: true }).inputValue()).toBe("jammy-server");
    await page.getByLabel("Checksum").selectOption("sha256");
    await page.getByLabel("sha256 of the file").fill((await fileDigest(qcow2)).replace("sha256:", ""));
    await page.getByLabel("Name", { exact: true }).fill("from-link");
    await page.getByText("The same with kubectl").click();
    expect(await page.getByRole("region", { name: "Manifest" }).innerText()).toContain('"type": "HTTP"');
    await opened.picture("create-link");
    await create(page);
    await page.locator("[data-phase=Provisioning]").waitFor();
    await opened.picture("image-provisioning");
    await isReady(page);

    const { status } = await clusterImage("from-link");
    await page.getByText(status!.digest!).waitFor();
    await page.getByText("DataSourceImportCompleted").waitFor();
    expect(await page.locator(".conditions").innerText()).toContain("DatasourceReady");
    expect(await pulledDisk(page, "from-link")).toBe(await fileDigest(rawDisk));
    await opened.picture("image-ready");
    expect(opened.faults).toEqual([]);
  });

  it("loads data from a container image of a private registry, with a CA and a secret made on the way", async () => {
    await using registry = await startRegistry({ auth: true, tls: true });
    const built = await buildDiskImage(directory.path, "disk.qcow2");
    await tool(
      "skopeo",
      "copy",
      "-q",
      "--dest-tls-verify=false",
      "--dest-creds",
      `${testUser.name}:${testUser.password}`,
      built,
      `docker://${registry.host}/disks/ubuntu:1`,
    );
    await using opened = await open("/create");
    const { page } = opened;
    await page.getByLabel("Load data from container image").check();
    await page.getByRole("textbox", { name: "Container image" }).fill(`${registry.host}/disks/ubuntu:1`);
    await page.getByLabel("Pull secret").selectOption("A new secret");
    expect(await page.getByRole("textbox", { name: "Registry" }).inputValue()).toBe(registry.host);
    await page.getByLabel("Name of the secret").fill("ubuntu-login");
    await page.getByLabel("User").fill(testUser.name);
    await page.getByLabel("Password").fill(testUser.password);
    await page.getByText("Certificate authority").click();
    await page.getByLabel("CA bundle").fill(await readFile(join(registry.certDirectory, "ca.crt"), "utf8"));
    await page.getByRole("radio", { name: /^VirtualImage/ }).check();
    await page.getByLabel("Namespace", { exact: true }).fill("team-a");
    expect(await page.getByLabel("Name", { exact: true }).inputValue()).toBe("ubuntu");
    await opened.picture("create-container-image");
    await create(page);
    await isReady(page);
    expect(new URL(page.url()).pathname).toBe("/images/vi/team-a/ubuntu");
    const { spec } = await server.json<ImageObject>(`${images}/namespaces/team-a/virtualimages/ubuntu`);
    expect(spec.dataSource.containerImage?.imagePullSecret).toEqual({ name: "ubuntu-login" });
    expect(opened.faults).toEqual([]);
  });

  it("copies an existing image", async () => {
    await using opened = await open("/create");
    const { page } = opened;
    await page.getByLabel("From an existing image").check();
    await page.getByRole("combobox", { name: "Image", exact: true }).selectOption("team-a / ubuntu");
    await page.getByLabel("Name", { exact: true }).fill("a-copy");
    await create(page);
    await isReady(page);
    expect((await clusterImage("a-copy")).spec.dataSource.objectRef).toEqual({
      kind: "VirtualImage",
      name: "ubuntu",
      namespace: "team-a",
    });
    expect(await pulledDisk(page, "a-copy")).toBe(await fileDigest(rawDisk));
    expect(opened.faults).toEqual([]);
  });

  it("uploads a file that is dropped", async () => {
    await using opened = await open("/create");
    const { page } = opened;
    await page.getByLabel("Upload from Computer").check();
    const dropped = await page.evaluateHandle(dropOf("dropped.qcow2", await readFile(qcow2)));
    await page.locator(".drop").dispatchEvent("drop", { dataTransfer: dropped });
    await page.getByText("dropped.qcow2").waitFor();
    await create(page);
    await isReady(page);
    expect(await pulledDisk(page, "dropped")).toBe(await fileDigest(rawDisk));
  });
});
