/** `dvcr-pvc-importer`: whatever goes wrong has one line with its cause, and an exit code of its own. */
import { mkdir, open, readdir, readFile, stat, truncate, unlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { ImagePusher } from "./support/container-images.ts";
import { patternBytes } from "./support/disks.ts";
import { withLoopDevice, withSmallVolume } from "./support/loop.ts";
import { freePort } from "./support/ports.ts";
import { PvcLab } from "./support/pvc-lab.ts";
import { tool } from "./support/tools.ts";

const MIB = 2 ** 20;

let lab: PvcLab;
let directory: string;
let volume: string;
let raw: string;

beforeAll(async () => {
  lab = await PvcLab.begin();
  ({ directory, volume, raw } = lab);
});

beforeEach(() => lab.clear());

afterAll(() => lab.end());

describe("what goes wrong has its own cause and exit code", () => {
  async function blob(repository: string): Promise<string> {
    const digests = (await lab.registry.content(repository)).layers;
    const at = (digest: string) =>
      join(lab.registry.storage, "docker/registry/v2/blobs/sha256", digest.slice(0, 2), digest, "data");
    const sizes = await Promise.all(digests.map(async (digest) => [digest, (await stat(at(digest))).size] as const));
    const [largest] = sizes.sort(([, a], [, b]) => b - a);
    return at(largest![0]);
  }
  const nothingLeft = async () => expect(await readdir(volume)).toEqual([]);

  it("a wrong password", async () => {
    const end = await lab.ended("cvi/disk", { IMPORTER_SECRET_KEY: "wrong-secret" });
    expect(end).toMatchObject({ code: 3, message: expect.stringMatching(/^E_SOURCE_DENIED: .*401/) as string });
    expect(end.message).not.toContain("wrong-secret");
    await nothingLeft();
  });

  it("no such image", async () => {
    expect(await lab.ended("cvi/none")).toMatchObject({
      code: 3,
      message: expect.stringMatching(/^E_SOURCE_NOT_FOUND: .*cvi\/none/) as string,
    });
    await nothingLeft();
  });

  it("a certificate that nobody vouches for", async () => {
    expect(await lab.ended("cvi/disk", { IMPORTER_CERT_DIR: "" })).toMatchObject({
      code: 3,
      message: expect.stringMatching(/^E_SOURCE_TLS: /) as string,
    });
  });

  it("a registry that is away", async () => {
    const port = await freePort();
    const server = createServer((socket) => socket.destroy()).listen(port, "127.0.0.1");
    try {
      const end = await lab.ended("cvi/disk", { IMPORTER_ENDPOINT: `docker://127.0.0.1:${port}/cvi/disk:0a1b` });
      expect(end).toMatchObject({ code: 1, message: expect.stringMatching(/^E_SOURCE_IO: /) as string });
    } finally {
      server.close();
    }
  });

  it.each([0.02, 0.5, 0.98])("a bit that has flipped in the layer, at %f of it", async (share) => {
    await lab.stored(raw, "cvi/flipped", "--compression", "zstd");
    const file = await open(await blob("cvi/flipped"), "r+");
    const at = Math.floor((await file.stat()).size * share);
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    await file.write(Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, at);
    try {
      const end = await lab.ended("cvi/flipped");
      expect(end).toMatchObject({ code: 3, message: expect.stringMatching(/^E_[A-Z_]+: /) as string });
      await nothingLeft();
    } finally {
      await file.write(byte, 0, 1, at);
      await file.close();
    }
  });

  it("a layer that ends early", async () => {
    await lab.stored(raw, "cvi/short", "--compression", "none");
    const path = await blob("cvi/short");
    await truncate(path, Math.floor((await stat(path)).size / 2));
    const end = await lab.ended("cvi/short");
    expect(end.code, end.message).toBe(1);
    expect(end.message).toMatch(/^E_SOURCE_/);
    await nothingLeft();
  });

  it("a volume that is full, and what it would have to hold", async () => {
    await withSmallVolume(volume, 6, async () => {
      const end = await lab.ended("cvi/disk");
      expect(end).toMatchObject({
        code: 3,
        message: expect.stringMatching(/^E_DISK_TOO_SMALL: .*needs up to \d+/) as string,
      });
      await nothingLeft();
    });
  });

  it("a volume that can never hold it, before anything is written", async () => {
    const noise = join(directory, "noise.raw");
    await writeFile(noise, patternBytes(24 * MIB, 5));
    await lab.stored(noise, "cvi/noise");
    await withSmallVolume(volume, 16, async () => {
      const end = await lab.ended("cvi/noise");
      expect(end).toMatchObject({
        code: 3,
        message: expect.stringMatching(/^E_DISK_TOO_SMALL: .*at least \d+/) as string,
      });
    });
  });

  it("a device that is too small", async () => {
    const file = join(directory, "small");
    await writeFile(file, "");
    await truncate(file, 16 * MIB);
    await withLoopDevice(file, async (device) => {
      const end = await lab.ended("cvi/disk", { DVCR_PVC_BLOCK_DEVICE: device });
      expect(end).toMatchObject({
        code: 3,
        message: expect.stringMatching(/^E_DISK_TOO_SMALL: .*16777216 bytes.*33554432/) as string,
      });
    });
    expect((await stat(file)).blocks).toBe(0);
  });

  it("an image of another format than declared", async () => {
    expect(await lab.ended("cvi/disk", { DVCR_SOURCE_FORMAT: "vmdk" })).toMatchObject({
      code: 3,
      message: expect.stringMatching(/^E_[A-Z_]+: .*vmdk/) as string,
    });
    await nothingLeft();
  });

  it("a volume that may only be read", async () => {
    await withSmallVolume(
      volume,
      4,
      async () => {
        expect(await lab.ended("cvi/disk")).toMatchObject({
          code: 3,
          message: expect.stringMatching(/^E_DISK_DENIED: /) as string,
        });
      },
      "ro",
    );
    const file = join(directory, "read-only");
    await writeFile(file, "");
    await truncate(file, 48 * MIB);
    await withLoopDevice(
      file,
      async (device) => {
        const end = await lab.ended("cvi/disk", { DVCR_PVC_BLOCK_DEVICE: device });
        expect(end, end.message).toMatchObject({
          code: 3,
          message: expect.stringMatching(/^E_DISK_DENIED: /) as string,
        });
      },
      "--read-only",
    );
  });

  it("a signal to stop", async () => {
    const stopped = lab.start("cvi/disk", {
      IMPORTER_ENDPOINT: `docker://127.0.0.1:${await freePort()}/cvi/disk:0a1b`,
      DVCR_RETRY_SECONDS: "60",
    });
    await stopped.logged("volume found");
    stopped.signal("SIGTERM");
    expect(await stopped.exit).toBe(143);
    const message = await readFile(join(directory, "dvcr-pvc-importer-termination-log"), "utf8");
    expect(message).toMatch(/^E_CANCELLED: .*SIGTERM.*before the disk was written/);
  });

  it("an image without a disk, and a disk without a byte", async () => {
    await using pusher = new ImagePusher(lab.registry.host, "cvi/empty");
    await pusher.image({ layers: [{ content: Buffer.alloc(0) }] }, "0a1b");
    expect(await lab.ended("cvi/empty")).toMatchObject({
      code: 3,
      message: expect.stringMatching(/^E_NO_DISK: /) as string,
    });
    const empty = join(directory, "disk");
    await mkdir(empty, { recursive: true });
    await writeFile(join(empty, "disk.img"), "");
    await tool("tar", "-C", directory, "-cf", join(directory, "empty.tar"), "disk/disk.img");
    await pusher.image({ layers: [{ content: await readFile(join(directory, "empty.tar")) }] }, "0a1b");
    await unlink(join(empty, "disk.img"));
    expect(await lab.ended("cvi/empty")).toMatchObject({
      code: 3,
      message: expect.stringMatching(/^E_NO_DISK: /) as string,
    });
    await nothingLeft();
  });

  it("an environment that asks for something else, every problem of it, and klog's flags are none", async () => {
    const end = await lab.ended("cvi/disk", { IMPORTER_SOURCE: "http", IMPORTER_IMAGE_SIZE: "10 Gigabytes" });
    expect(end.code).toBe(3);
    expect(end.message).toMatch(/^E_CONFIG: .*IMPORTER_SOURCE.*IMPORTER_IMAGE_SIZE/);
  });
});
