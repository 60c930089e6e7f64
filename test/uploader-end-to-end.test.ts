import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent, request } from "undici";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { makeRawDisk, qemuConvert, qemuRawDigest, truncatedCopy } from "./support/disks.ts";
import { curl, eventually, ownerUid, rawRequest } from "./support/pod.ts";
import { startRegistry, type TestRegistry } from "./support/registry.ts";
import { pullUploaded, startRegistryUploader, type RegistryUploader } from "./support/registry-uploader.ts";

const megabytes = 48;
let directory: string;
let disk: string;
let diskDigest: string;
let registry: TestRegistry;
let uploader: RegistryUploader | undefined;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-upload-"));
  const raw = await makeRawDisk(join(directory, "disk.raw"), megabytes);
  disk = await qemuConvert(raw, join(directory, "disk.qcow2"), "-O", "qcow2", "-c");
  diskDigest = await qemuRawDigest(disk, directory);
  registry = await startRegistry({ auth: true, tls: true });
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

// One that a failed test left waiting; has no effect on those that ended.
afterEach(() => uploader?.signal("SIGKILL"));

/** Starts bin/dvcr-uploader for one repository and gives the URL of /upload. */
async function startFor(repository: string, environment: Record<string, string> = {}): Promise<string> {
  uploader = await startRegistryUploader(directory, registry, repository, environment);
  return uploader.url;
}

const agent = new Agent({ connect: { rejectUnauthorized: false } });

async function scrapedProgress(): Promise<number> {
  const { metricsPort } = await uploader!.logged("started");
  const { body } = await request(`https://127.0.0.1:${String(metricsPort)}/metrics`, { dispatcher: agent });
  return Number(
    new RegExp(`registry_progress\\{ownerUID\\="${ownerUid}"\\} ([0-9e\\+\\-\\.]+)`).exec(await body.text())?.[1],
  );
}

const isEmpty = async (repository: string): Promise<void> => {
  expect([await registry.tags(repository), await registry.sessions(repository)]).toEqual([[], []]);
};

describe("dvcr-uploader", () => {
  it("stores what curl -T sends as the raw disk that qemu-img makes of it", async () => {
    const url = await startFor("cvi/good");
    const { stdout } = await curl("-w", "%{http_code}", "-T", disk, url).done;
    expect(stdout).toMatch(/^stored docker:\/\/.*: qcow2 as raw, .*\n200$/);
    expect(await uploader!.exit).toBe(0);
    const pulled = await pullUploaded(directory, registry, "cvi/good");
    expect(pulled.digest).toBe(diskDigest);
    expect(uploader!.message()).toEqual({
      "source-image-size": pulled.layerSize,
      "source-image-virtual-size": megabytes * 2 ** 20,
      "source-image-format": "raw",
      duration: expect.any(Number) as number,
      "average-speed": expect.any(Number) as number,
    });
  });

  it("stores the same when it comes chunked or as a form", async () => {
    const content = await readFile(disk);
    const chunked = curl("-T", "-", await startFor("cvi/chunked"));
    await chunked.write(content);
    chunked.end();
    expect((await chunked.done).stdout).toMatch(/^stored /);
    expect((await curl("-F", `file=@${disk}`, await startFor("cvi/form")).done).stdout).toMatch(/^stored /);
    expect((await pullUploaded(directory, registry, "cvi/chunked")).digest).toBe(diskDigest);
    expect((await pullUploaded(directory, registry, "cvi/form")).digest).toBe(diskDigest);
  });

  it("stores no byte behind Content-Length", async () => {
    const content = randomBytes(2 ** 20);
    const { port } = new URL(await startFor("cvi/more"));
    const answer = await rawRequest(
      Number(port),
      `PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: ${String(content.length)}\r\n\r\n`,
      Buffer.concat([content, Buffer.alloc(4096, 1)]),
    );
    // What follows is read as the next request, which it is not; which answer comes first is open, and a reset may
    // swallow both.
    expect(answer).toMatch(/^(?:HTTP\/1\.1 (?:200|400) |$)/);
    expect(await uploader!.exit).toBe(0);
    const pulled = await pullUploaded(directory, registry, "cvi/more");
    expect(pulled.digest).toBe(createHash("sha256").update(content).digest("hex"));
  });

  it("refuses a well-ended body that holds 60 % of the image, and leaves nothing in the registry", async () => {
    const part = await truncatedCopy(disk, join(directory, "part.qcow2"), 0.6);
    const upload = curl("-w", "%{http_code}", "-T", "-", await startFor("cvi/truncated"));
    await upload.write(await readFile(part));
    upload.end();
    expect((await upload.done).stdout).toMatch(/^E_TRUNCATED: .*\n422$/);
    expect(await uploader!.exit).toBe(0);
    expect(uploader!.message()["error-message"]).toMatch(/^E_TRUNCATED: /);
    await isEmpty("cvi/truncated");
  });

  it("refuses a wrong checksum, and leaves nothing in the registry", async () => {
    const url = await startFor("cvi/checksum", { UPLOADER_CHECKSUMS: `sha256:${"0".repeat(64)}` });
    expect((await curl("-w", "%{http_code}", "-T", disk, url).done).stdout).toMatch(
      /^E_CHECKSUM_MISMATCH: sha256 sum mismatch: 0{64} != [0-9a-f]{64}\. .*\n422$/,
    );
    expect(await uploader!.exit).toBe(0);
    await isEmpty("cvi/checksum");
  });

  it("refuses an image long before its body has ended, also when the client sends nothing more for now", async () => {
    const url = new URL(await startFor("cvi/encrypted"));
    const body = Buffer.concat([Buffer.from("LUKS\xba\xbe\0\x02", "latin1"), Buffer.alloc(2 ** 20)]);
    const answer = await rawRequest(
      Number(url.port),
      "PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\n\r\n",
      body,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 422 [^]*\r\n\r\nE_ENCRYPTED: /);
    expect(await uploader!.exit).toBe(0);
    await isEmpty("cvi/encrypted");
  });

  it("waits for another upload after the client was cut off, with progress kept", async () => {
    const url = await startFor("cvi/again");
    const content = await readFile(disk);
    const first = curl("-T", "-", url);
    await first.write(content.subarray(0, Math.floor(content.length / 2)));
    const before = await eventually(async () => {
      const progress = await scrapedProgress();
      return progress > 0 ? progress : undefined;
    });
    first.kill();
    await first.done;
    await uploader!.logged("request failed");
    expect(await scrapedProgress()).toBeGreaterThanOrEqual(before);
    expect((await curl("-T", disk, url).done).stdout).toMatch(/^stored /);
    expect(await uploader!.exit).toBe(0);
    expect(await registry.sessions("cvi/again")).toEqual([]);
    expect((await pullUploaded(directory, registry, "cvi/again")).digest).toBe(diskDigest);
  });

  it("leaves nothing in the registry when it is told to stop in the middle", async () => {
    const url = await startFor("cvi/stopped");
    const upload = curl("-T", "-", url);
    await upload.write((await readFile(disk)).subarray(0, 2 ** 21));
    await eventually(async () => (await scrapedProgress()) > 0);
    uploader!.signal("SIGTERM");
    expect(await uploader!.exit).toBe(143);
    upload.kill();
    expect(uploader!.message()["error-message"]).toMatch(/^E_CANCELLED: /);
    await isEmpty("cvi/stopped");
  });
});
