/** `dvcr-pvc-importer`: a stored image on a volume of either kind. */
import { readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { scrapeUntil } from "./support/controller.ts";
import { fileDigest, qemuConvert } from "./support/disks.ts";
import { withLoopDevice } from "./support/loop.ts";
import { freePort } from "./support/ports.ts";
import { PvcLab } from "./support/pvc-lab.ts";
import { tool } from "./support/tools.ts";

const MIB = 2 ** 20;
const { megabytes } = PvcLab;

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
    const importer = lab.start("cvi/disk", { DVCR_METRICS_PORT: String(port) });
    const seen = await scrapeUntil(port, importer.exit);
    expect(await importer.exit).toBe(0);
    expect(await readFile(join(directory, "dvcr-pvc-importer-termination-log"), "utf8")).toBe(complete.message);
    await expectDisk();
    expect((await stat(join(volume, "disk.img"))).mode & 0o777).toBe(0o660);
    const percents = seen.map(({ progress }) => progress);
    expect(percents).toEqual([...percents].sort((a, b) => a - b));
  });

  it("of an image that is larger than what was asked for gets the image's size", async () => {
    expect(await lab.ended("cvi/disk", { IMPORTER_IMAGE_SIZE: "1e6" })).toEqual(complete);
    await expectDisk(megabytes * MIB);
  });

  it("takes the disk whatever format the image has, and leaves a mounted scratch volume alone", async () => {
    const qcow2 = await qemuConvert(raw, join(directory, "disk.qcow2"), "-O", "qcow2", "-c");
    await lab.stored(qcow2, "cvi/source", "--format", "source", "--compression", "none");
    expect(await lab.ended("cvi/source", { IMPORTER_DIRECT_TRANSFER: "false", DVCR_SCRATCH_LIMIT: "0" })).toEqual(
      complete,
    );
    await expectDisk();
  });

  it("with the leftovers of a try that was killed is filled anew", async () => {
    await writeFile(join(volume, "disk.img"), "half a disk");
    await writeFile(join(volume, "disk.img.partial"), "half a disk");
    expect(await lab.ended("cvi/disk")).toEqual(complete);
    await expectDisk();
  });

  it("is filled by a second try after SIGKILL", async () => {
    const killed = lab.start("cvi/disk");
    await killed.logged("volume found");
    killed.signal("SIGKILL");
    expect(await killed.exit).toBeNull();
    expect(await lab.ended("cvi/disk")).toEqual(complete);
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
        expect(await lab.ended("cvi/disk", { IMPORTER_IMAGE_SIZE: String(megabytes * MIB) })).toEqual(complete);
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
        expect(await lab.ended("cvi/disk", { DVCR_PVC_BLOCK_DEVICE: device })).toEqual(complete);
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
