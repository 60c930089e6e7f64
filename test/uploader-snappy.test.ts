import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { textBytes } from "./support/disks.ts";
import { curl, type Finished } from "./support/pod.ts";
import { startRegistry, type TestRegistry } from "./support/registry.ts";
import { pullUploaded, startRegistryUploader, type RegistryUploader } from "./support/registry-uploader.ts";
import { snappyFrames } from "./support/snappy.ts";

let directory: string;
let registry: TestRegistry;
let uploader: RegistryUploader | undefined;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-snappy-"));
  registry = await startRegistry({ auth: true, tls: true });
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

afterEach(() => uploader?.signal("SIGKILL"));

/** Sends `body` as the framed clone of a block device. */
async function sendClone(repository: string, body: Uint8Array, ...args: string[]): Promise<Finished> {
  uploader = await startRegistryUploader(directory, registry, repository);
  const file = join(directory, "clone.sz");
  await writeFile(file, body);
  return await curl(
    "-w",
    "%{http_code}",
    ...args,
    "-H",
    "x-cdi-content-type: blockdevice-clone",
    "-T",
    file,
    uploader.url,
  ).done;
}

const digestOf = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

/** A disk whose first bytes look like a gzip file: still a disk's own bytes. */
const disk = Buffer.concat([Buffer.from([0x1f, 0x8b, 0x08, 0x00]), textBytes(5 * 2 ** 20 - 4, 9)]);

describe("a block device's clone in snappy frames", () => {
  it("is stored as the device's own bytes, and a declared digest is of what was sent", async () => {
    const body = snappyFrames(disk);
    const { stdout } = await sendClone(
      "cvi/clone",
      body,
      "-H",
      `Repr-Digest: sha-256=:${digestOf(body).toString("base64")}:`,
    );
    expect(stdout).toMatch(/^stored .*: raw as raw, 5242880 bytes, .*\n200$/);
    expect(await uploader!.exit).toBe(0);
    const pulled = await pullUploaded(directory, registry, "cvi/clone");
    expect(pulled.digest).toBe(digestOf(disk).toString("hex"));
  });

  it("with a wrong byte is refused, and leaves nothing in the registry", async () => {
    const body = snappyFrames(disk);
    body[3_000_000]! ^= 1;
    const { stdout } = await sendClone("cvi/damaged", body);
    expect(stdout).toMatch(/^E_CORRUPT_COMPRESSION: the snappy stream is damaged [^]*\n422$/);
    expect(await uploader!.exit).toBe(0);
    expect([await registry.tags("cvi/damaged"), await registry.sessions("cvi/damaged")]).toEqual([[], []]);
  });

  it("that is not framed is refused", async () => {
    const { stdout } = await sendClone("cvi/unframed", disk);
    expect(stdout).toMatch(/^E_CORRUPT_COMPRESSION: [^]*\n422$/);
  });
});
