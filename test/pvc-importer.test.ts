/** `dvcr-pvc-importer`: a stored image on a volume of either kind, and one line with the cause of what goes wrong. */
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, truncate, unlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { ImagePusher } from "./support/container-images.ts";
import { scrapeUntil } from "./support/controller.ts";
import { fileDigest, makeRawDisk, patternBytes, qemuConvert } from "./support/disks.ts";
import { startExecutable } from "./support/executable.ts";
import { withLoopDevice, withSmallVolume } from "./support/loop.ts";
import { freePort } from "./support/ports.ts";
import { startRegistry, testUser, type TestRegistry } from "./support/registry.ts";
import { tool } from "./support/tools.ts";

const MIB = 2 ** 20;
const megabytes = 32;
const dvcr = new URL("../bin/dvcr", import.meta.url).pathname;

let directory: string;
let volume: string;
let raw: string;
let registry: TestRegistry;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-pvc-"));
  volume = join(directory, "data");
  raw = await makeRawDisk(join(directory, "disk.raw"), megabytes);
  registry = await startRegistry({ auth: true, tls: true });
  await stored(raw, "cvi/disk");
});

beforeEach(async () => {
  await rm(volume, { recursive: true, force: true });
  await mkdir(volume);
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

/** Imports a file to a repository of the registry. */
async function stored(file: string, repository: string, ...flags: string[]): Promise<void> {
  const access = ["--dest-creds", `${testUser.name}:${testUser.password}`, "--dest-tls-verify=false"];
  const name = `docker://${registry.host}/${repository}:0a1b`;
  await tool(process.execPath, dvcr, "import", "--quiet", ...access, ...flags, file, name);
}

/** The environment as the controller writes it. */
function start(repository: string, environment: Record<string, string> = {}) {
  return startExecutable("dvcr-pvc-importer", directory, {
    IMPORTER_SOURCE: "registry",
    IMPORTER_ENDPOINT: `docker://${registry.host}/${repository}:0a1b`,
    IMPORTER_CONTENTTYPE: "kubevirt",
    IMPORTER_IMAGE_SIZE: "48Mi",
    IMPORTER_DIRECT_TRANSFER: "true",
    IMPORTER_QEMU_CONVERT_THREADS: "1",
    FILESYSTEM_OVERHEAD: "0",
    INSECURE_TLS: "false",
    IMPORTER_ACCESS_KEY_ID: testUser.name,
    IMPORTER_SECRET_KEY: testUser.password,
    IMPORTER_CERT_DIR: registry.certDirectory,
    DVCR_PVC_BLOCK_DEVICE: join(directory, "no-device"),
    DVCR_PVC_DIRECTORY: volume,
    DVCR_RETRY_SECONDS: "1",
    ...environment,
  });
}

async function ended(repository: string, environment: Record<string, string> = {}) {
  const code = await start(repository, environment).exit;
  return { code, message: await readFile(join(directory, "dvcr-pvc-importer-termination-log"), "utf8") };
}

const complete = {
  code: 0,
  message: '{"scratchSpaceRequired":false,"preallocationApplied":false,"labels":{},"message":"Import Complete"}',
};

/** The file on the volume has the disk and is what a machine can be started from. */
async function expectDisk(virtualSize = 48 * MIB): Promise<void> {
  const path = join(volume, "disk.img");
  await tool("qemu-img", "check", "-q", path);
  await tool("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", path, raw);
  expect(JSON.parse(await tool("qemu-img", "info", "--output=json", path))).toMatchObject({
    format: "qcow2",
    "virtual-size": virtualSize,
  });
  expect((await readdir(volume)).filter((name) => name !== "lost+found")).toEqual(["disk.img"]);
}

describe("a file system volume", () => {
  it("gets a qcow2 file of the size asked for, and the progress goes from 0 to 100", async () => {
    const port = await freePort();
    const importer = start("cvi/disk", { DVCR_METRICS_PORT: String(port) });
    const seen = await scrapeUntil(port, importer.exit);
    expect(await importer.exit).toBe(0);
    expect(await readFile(join(directory, "dvcr-pvc-importer-termination-log"), "utf8")).toBe(complete.message);
    await expectDisk();
    expect((await stat(join(volume, "disk.img"))).mode & 0o777).toBe(0o660);
    const percents = seen.map(({ progress }) => progress);
    expect(percents).toEqual([...percents].sort((a, b) => a - b));
  });

  it("of an image that is larger than what was asked for gets the image's size", async () => {
    expect(await ended("cvi/disk", { IMPORTER_IMAGE_SIZE: "1e6" })).toEqual(complete);
    await expectDisk(megabytes * MIB);
  });

  it("takes the disk whatever format the image has, and leaves a mounted scratch volume alone", async () => {
    const qcow2 = await qemuConvert(raw, join(directory, "disk.qcow2"), "-O", "qcow2", "-c");
    await stored(qcow2, "cvi/source", "--format", "source", "--compression", "none");
    expect(await ended("cvi/source", { IMPORTER_DIRECT_TRANSFER: "false", DVCR_SCRATCH_LIMIT: "0" })).toEqual(complete);
    await expectDisk();
  });

  it("with the leftovers of a try that was killed is filled anew", async () => {
    await writeFile(join(volume, "disk.img"), "half a disk");
    await writeFile(join(volume, "disk.img.partial"), "half a disk");
    expect(await ended("cvi/disk")).toEqual(complete);
    await expectDisk();
  });

  it("is filled by a second try after SIGKILL", async () => {
    const killed = start("cvi/disk");
    await killed.logged("volume found");
    killed.signal("SIGKILL");
    expect(await killed.exit).toBeNull();
    expect(await ended("cvi/disk")).toEqual(complete);
    await expectDisk();
  });

  it("of exactly the image's size on ext4 is enough for a disk that is not full", async () => {
    const file = join(directory, "ext4.img");
    await writeFile(file, "");
    await truncate(file, megabytes * MIB);
    await tool("mkfs.ext4", "-q", file);
    await withLoopDevice(file, async (device) => {
      await tool("mount", device, volume);
      try {
        expect(await ended("cvi/disk", { IMPORTER_IMAGE_SIZE: String(megabytes * MIB) })).toEqual(complete);
        await expectDisk(megabytes * MIB);
      } finally {
        await tool("umount", volume);
      }
    });
  });
});

describe("a block volume", () => {
  it.each([512, 4096])("of %i-byte sectors ends with the disk and zeros, thin", async (sector) => {
    const file = join(directory, `device-${sector}`);
    await writeFile(file, Buffer.alloc(48 * MIB, 0xaa));
    await withLoopDevice(
      file,
      async (device) => {
        expect(await ended("cvi/disk", { DVCR_PVC_BLOCK_DEVICE: device })).toEqual(complete);
      },
      "--sector-size",
      String(sector),
    );
    const expected = join(directory, "expected");
    await tool("cp", "--sparse=always", raw, expected);
    await truncate(expected, 48 * MIB);
    expect(await fileDigest(file)).toBe(await fileDigest(expected));
    // 9 MiB and a little of the image are data.
    expect((await stat(file)).blocks * 512).toBeLessThan(10.5 * MIB);
    expect(await readdir(volume)).toEqual([]);
  });
});

describe("what goes wrong has its own cause and exit code", () => {
  async function blob(repository: string): Promise<string> {
    const digests = (await registry.content(repository)).layers;
    const at = (digest: string) =>
      join(registry.storage, "docker/registry/v2/blobs/sha256", digest.slice(0, 2), digest, "data");
    const sizes = await Promise.all(digests.map(async (digest) => [digest, (await stat(at(digest))).size] as const));
    const [largest] = sizes.sort(([, a], [, b]) => b - a);
    return at(largest![0]);
  }
  const nothingLeft = async () => expect(await readdir(volume)).toEqual([]);

  it("a wrong password", async () => {
    const end = await ended("cvi/disk", { IMPORTER_SECRET_KEY: "wrong-secret" });
    expect(end).toMatchObject({ code: 3, message: expect.stringMatching(/^E_SOURCE_DENIED: .*401/) as string });
    expect(end.message).not.toContain("wrong-secret");
    await nothingLeft();
  });

  it("no such image", async () => {
    expect(await ended("cvi/none")).toMatchObject({
      code: 3,
      message: expect.stringMatching(/^E_SOURCE_NOT_FOUND: .*cvi\/none/) as string,
    });
    await nothingLeft();
  });

  it("a certificate that nobody vouches for", async () => {
    expect(await ended("cvi/disk", { IMPORTER_CERT_DIR: "" })).toMatchObject({
      code: 3,
      message: expect.stringMatching(/^E_SOURCE_TLS: /) as string,
    });
  });

  it("a registry that is away", async () => {
    const port = await freePort();
    const server = createServer((socket) => socket.destroy()).listen(port, "127.0.0.1");
    try {
      const end = await ended("cvi/disk", { IMPORTER_ENDPOINT: `docker://127.0.0.1:${port}/cvi/disk:0a1b` });
      expect(end).toMatchObject({ code: 1, message: expect.stringMatching(/^E_SOURCE_IO: /) as string });
    } finally {
      server.close();
    }
  });

  it.each([0.02, 0.5, 0.98])("a bit that has flipped in the layer, at %f of it", async (share) => {
    await stored(raw, "cvi/flipped", "--compression", "zstd");
    const file = await open(await blob("cvi/flipped"), "r+");
    const at = Math.floor((await file.stat()).size * share);
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    await file.write(Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, at);
    try {
      const end = await ended("cvi/flipped");
      expect(end).toMatchObject({ code: 3, message: expect.stringMatching(/^E_[A-Z_]+: /) as string });
      await nothingLeft();
    } finally {
      await file.write(byte, 0, 1, at);
      await file.close();
    }
  });

  it("a layer that ends early", async () => {
    await stored(raw, "cvi/short", "--compression", "none");
    const path = await blob("cvi/short");
    await truncate(path, Math.floor((await stat(path)).size / 2));
    const end = await ended("cvi/short");
    expect(end.code, end.message).toBe(1);
    expect(end.message).toMatch(/^E_SOURCE_/);
    await nothingLeft();
  });

  it("a volume that is full, and what it would have to hold", async () => {
    await withSmallVolume(volume, 6, async () => {
      const end = await ended("cvi/disk");
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
    await stored(noise, "cvi/noise");
    await withSmallVolume(volume, 16, async () => {
      const end = await ended("cvi/noise");
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
      const end = await ended("cvi/disk", { DVCR_PVC_BLOCK_DEVICE: device });
      expect(end).toMatchObject({
        code: 3,
        message: expect.stringMatching(/^E_DISK_TOO_SMALL: .*16777216 bytes.*33554432/) as string,
      });
    });
    expect((await stat(file)).blocks).toBe(0);
  });

  it("an image of another format than declared", async () => {
    expect(await ended("cvi/disk", { DVCR_SOURCE_FORMAT: "vmdk" })).toMatchObject({
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
        expect(await ended("cvi/disk")).toMatchObject({
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
        const end = await ended("cvi/disk", { DVCR_PVC_BLOCK_DEVICE: device });
        expect(end, end.message).toMatchObject({
          code: 3,
          message: expect.stringMatching(/^E_DISK_DENIED: /) as string,
        });
      },
      "--read-only",
    );
  });

  it("a signal to stop", async () => {
    const stopped = start("cvi/disk", {
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
    await using pusher = new ImagePusher(registry.host, "cvi/empty");
    await pusher.image({ layers: [{ content: Buffer.alloc(0) }] }, "0a1b");
    expect(await ended("cvi/empty")).toMatchObject({
      code: 3,
      message: expect.stringMatching(/^E_NO_DISK: /) as string,
    });
    const empty = join(directory, "disk");
    await mkdir(empty, { recursive: true });
    await writeFile(join(empty, "disk.img"), "");
    await tool("tar", "-C", directory, "-cf", join(directory, "empty.tar"), "disk/disk.img");
    await pusher.image({ layers: [{ content: await readFile(join(directory, "empty.tar")) }] }, "0a1b");
    await unlink(join(empty, "disk.img"));
    expect(await ended("cvi/empty")).toMatchObject({
      code: 3,
      message: expect.stringMatching(/^E_NO_DISK: /) as string,
    });
    await nothingLeft();
  });

  it("an environment that asks for something else, every problem of it, and klog's flags are none", async () => {
    const end = await ended("cvi/disk", { IMPORTER_SOURCE: "http", IMPORTER_IMAGE_SIZE: "10 Gigabytes" });
    expect(end.code).toBe(3);
    expect(end.message).toMatch(/^E_CONFIG: .*IMPORTER_SOURCE.*IMPORTER_IMAGE_SIZE/);
  });
});
