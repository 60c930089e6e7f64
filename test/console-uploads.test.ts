/**
 * Uploads from the web console in real Chromium: paused, interrupted by a reload, gone on with; and what is refused.
 */
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { catalogue } from "../src/errors/catalogue.ts";
import { ConsolePage, launchChromium } from "./support/console-browser.ts";
import { fileDigest, makeRawDisk, patternBytes, qemuConvert, truncatedCopy } from "./support/disks.ts";
import { Origin } from "./support/origin.ts";
import { umociDiskDigest } from "./support/pulled.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { temporaryDirectory, tool } from "./support/tools.ts";

const mebi = 2 ** 20;
const size = 300 * mebi;
/** What Chromium may send in a second, so that there is a time to interrupt it. */
const throttled = 40 * mebi;

let browser: Browser;
let server: ServeProcess;
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;

beforeAll(async () => {
  directory = await temporaryDirectory();
  [server, browser] = await Promise.all([ServeProcess.start(), launchChromium()]);
});
afterAll(async () => {
  await browser.close();
  await server[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
});

/** A raw disk of 300 MiB that does not shrink. */
async function bigDisk(): Promise<string> {
  const path = join(directory.path, "big.raw");
  const part = patternBytes(10 * mebi, 5);
  await pipeline(function* () {
    for (let at = 0; at < size; at += part.length) {
      part.writeUInt32LE(at, 0);
      yield Buffer.from(part);
    }
  }, createWriteStream(path));
  return path;
}

/** The same name, length and date, and other bytes at the end. */
async function changedCopy(path: string): Promise<string> {
  await mkdir(join(directory.path, "changed"));
  const copy = join(directory.path, "changed", "big.raw");
  await pipeline(createReadStream(path, { end: size - 5 }), createWriteStream(copy));
  await writeFile(copy, "new!", { flag: "a" });
  return copy;
}

/** MiB that the page says are sent. */
async function sentMebi(page: Page): Promise<number> {
  return Number.parseFloat(await page.locator(".upload-figures dd").first().innerText());
}

async function untilSent(page: Page, mebibytes: number): Promise<void> {
  await expect.poll(() => sentMebi(page), { timeout: 60_000, interval: 20 }).toBeGreaterThan(mebibytes);
}

async function throttle(page: Page, bytesPerSecond: number): Promise<void> {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.emulateNetworkConditions", {
    offline: false,
    latency: 0,
    downloadThroughput: -1,
    uploadThroughput: bytesPerSecond,
  });
}

describe("an upload of 300 MiB", () => {
  it(
    "is paused, goes on, survives a reload once the same file is chosen again, and no other " + "file is taken for it",
    async () => {
      const path = await bigDisk();
      await using opened = await ConsolePage.open(browser, server.url, "/create");
      const { page, ranges } = opened;
      await throttle(page, throttled);
      await page.getByLabel("Upload from Computer").check();
      await page.getByLabel("Choose a file").setInputFiles(path);
      await page.getByText("big.raw, 300 MiB").waitFor();
      await page.getByRole("button", { name: "Create Image" }).click();
      await untilSent(page, 40);
      await page.locator(".upload-figures").getByText("/s").waitFor();
      await opened.picture("upload-sending");

      await page.getByRole("button", { name: "Pause" }).click();
      await page.getByRole("heading", { name: "Paused" }).waitFor();
      await opened.picture("upload-paused");
      await page.getByRole("button", { name: "Resume" }).click();
      await untilSent(page, 100);
      await page.reload();

      await page.getByRole("heading", { name: "Go on with the upload" }).waitFor();
      await opened.picture("upload-interrupted");
      const small = await makeRawDisk(join(directory.path, "small.raw"), 8);
      await page.getByLabel("Choose the file again").setInputFiles(small);
      await page.getByText("it is named small.raw, the upload began with big.raw").waitFor();
      await opened.picture("upload-other-file");
      await page.getByLabel("Choose the file again").setInputFiles(await changedCopy(path));
      await page.getByText("its content has changed since the upload began").waitFor();
      expect(ranges).toHaveLength(2);
      await page.getByLabel("Choose the file again").setInputFiles(path);
      await page.locator(".phase-card [data-phase=Ready]").waitFor({ timeout: 90_000 });

      const starts = ranges.map((range) => Number(/^bytes (\d+)-\d+\/314572800$/.exec(range)?.[1]));
      expect(starts[0]).toBe(0);
      // What had arrived was not sent again.
      expect(starts[1]).toBeGreaterThan(mebi);
      expect(starts[2]).toBeGreaterThan(starts[1]!);
      expect(starts).toHaveLength(3);
      const pulled = join(directory.path, "pulled");
      const [{ registryURL }] = [
        (
          await server.json<{ status: { target: { registryURL: string } } }>(
            "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages/big",
          )
        ).status.target,
      ];
      await tool("skopeo", "copy", "-q", "--src-tls-verify=false", `docker://${registryURL}`, `oci:${pulled}:big`);
      expect(await umociDiskDigest(pulled, "big", directory.path)).toBe(await fileDigest(path));
      expect(opened.faults).toEqual([]);
    },
  );
});

describe("errors are shown in the words of the server", () => {
  it("beside the field that is wrong", async () => {
    await using opened = await ConsolePage.open(browser, server.url, "/create");
    const { page } = opened;
    await page.getByLabel("URL").fill("https://example.com/disk.qcow2");
    await page.getByLabel("Checksum").selectOption("md5");
    await page.getByLabel("md5 of the file").fill("123");
    await page.getByRole("button", { name: "Create Image" }).click();
    await page.getByRole("alert").waitFor();
    expect(await page.getByRole("alert").innerText()).toContain("spec.dataSource.http.checksum.md5");
    expect(await page.locator("#checksum-error").innerText()).toContain("at least 32 chars");
    await page.locator("#checksum:focus").waitFor();
    await opened.picture("create-refused");
    expect(opened.faults).toEqual([]);
  });

  it("where the import failed, and nothing in them is taken for a part of the page", async () => {
    await using origin = await Origin.start(
      await readFile(
        await qemuConvert(
          await makeRawDisk(join(directory.path, "d.raw"), 8),
          join(directory.path, "d.qcow2"),
          "-O",
          "qcow2",
        ),
      ),
    );
    const evil = "<img/src=x/onerror=alert(1)>";
    await using opened = await ConsolePage.open(browser, server.url, "/create");
    const { page } = opened;
    await page.getByLabel("URL").fill(`${origin.url}/${evil}.qcow2`);
    await page.getByLabel("Name", { exact: true }).fill("wrong-sum");
    await page.getByLabel("Checksum").selectOption("sha256");
    await page.getByLabel("sha256 of the file").fill("0".repeat(64));
    await page.getByRole("button", { name: "Create Image" }).click();
    await page.locator(".phase-card [data-phase=Failed]").waitFor();
    const why = await page.locator(".phase-card .why").innerText();
    expect(why).toContain("E_CHECKSUM_MISMATCH");
    expect(why).toContain(catalogue.E_CHECKSUM_MISMATCH.fix);
    expect(await page.locator(".facts").innerText()).toContain(evil);
    expect(await page.locator("main img").count()).toBe(0);
    await opened.picture("image-failed");
    await page.getByRole("link", { name: "All images" }).click();
    await page.locator("[data-name=wrong-sum] .clamp").filter({ hasText: "E_CHECKSUM_MISMATCH" }).waitFor();
    expect(opened.faults).toEqual([]);
  });

  it("where an uploaded file is refused", async () => {
    const whole = await qemuConvert(
      await makeRawDisk(join(directory.path, "t.raw"), 8),
      join(directory.path, "t.qcow2"),
      "-O",
      "qcow2",
    );
    const cut = await truncatedCopy(whole, join(directory.path, "cut.qcow2"), 0.5);
    await using opened = await ConsolePage.open(browser, server.url, "/create");
    const { page } = opened;
    await page.getByLabel("Upload from Computer").check();
    await page.getByLabel("Choose a file").setInputFiles(cut);
    await page.getByRole("button", { name: "Create Image" }).click();
    await page.locator(".phase-card [data-phase=Failed]").waitFor();
    expect(await page.locator(".phase-card .why").innerText()).toContain(catalogue.E_TRUNCATED.fix);
    // Nothing is left to go on with.
    expect(await page.getByLabel(/Choose/).count()).toBe(0);
    expect(opened.faults).toEqual([]);
  });
});
