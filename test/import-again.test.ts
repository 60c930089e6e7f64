/**
 * Imports that read their source a second time: an archive looked ahead into, a size counted first, a tag that stands.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";

import { dvcr, dvcrImport } from "./support/cli.ts";
import { fileDigest, patternBytes, qemuConvert } from "./support/disks.ts";
import { Nginx } from "./support/nginx.ts";
import { umociDiskDigest } from "./support/pulled.ts";
import { temporaryDirectory, tool } from "./support/tools.ts";

const MIB = 1 << 20;

test("tar and OVA are imported and inspected from a web server with ranges", async () => {
  await using directory = await temporaryDirectory();
  const at = (name: string) => join(directory.path, name);
  await writeFile(at("disk.raw"), patternBytes(MIB, 5));
  await qemuConvert(at("disk.raw"), at("disk.vmdk"), "-O", "vmdk", "-o", "subformat=streamOptimized");
  await writeFile(at("vm.ovf"), "<?xml version='1.0'?><Envelope/>\n");
  await tool("tar", "-C", directory.path, "-cf", at("disk.tar"), "disk.raw");
  await tool("tar", "-C", directory.path, "--format=ustar", "-cf", at("vm.ova"), "vm.ovf", "disk.vmdk");
  await tool("chmod", "-R", "a+rX", directory.path);
  await using nginx = await Nginx.start(directory.path);
  for (const name of ["disk.tar", "vm.ova"]) {
    await dvcrImport(`${nginx.url}/${name}`, `oci:${at("layout")}:${name}`);
    expect(await umociDiskDigest(at("layout"), name, directory.path)).toBe(await fileDigest(at("disk.raw")));
    const inspected = await dvcr(["inspect", "--json", `${nginx.url}/${name}`]);
    expect(inspected).toMatchObject({ code: 0, stdout: expect.stringContaining('"tar"') as string });
  }
});

test.each(["gzip", "xz", "zstd", "bzip2"])(
  "a fixed VHD inside %s is imported from a file, as from a pipe",
  async (packer) => {
    await using directory = await temporaryDirectory();
    const at = (name: string) => join(directory.path, name);
    await writeFile(at("disk.raw"), patternBytes(2 * MIB, 6));
    await qemuConvert(at("disk.raw"), at("disk.vhd"), "-O", "vpc", "-o", "subformat=fixed,force_size");
    await tool(packer, "-q", "-k", at("disk.vhd"));
    const packed = at(`disk.vhd.${{ gzip: "gz", xz: "xz", zstd: "zst", bzip2: "bz2" }[packer]!}`);
    const report = await dvcrImport(packed, `oci:${at("layout")}:1`, "--src-format", "vpc");
    expect(report).toMatchObject({ sourceFormat: "vpc", virtualSize: 2 * MIB });
    expect(await umociDiskDigest(at("layout"), "1", directory.path)).toBe(await fileDigest(at("disk.raw")));
    expect(await dvcrImport(packed, `oci:${at("layout")}:1`, "--src-format", "vpc")).toMatchObject({
      layerPushed: false,
    });
  },
);

test("another disk size in a file of the same size, at the same tag, is pushed", async () => {
  await using directory = await temporaryDirectory();
  const at = (name: string) => join(directory.path, name);
  const layout = `oci:${at("layout")}:1`;
  await tool("qemu-img", "create", "-q", "-f", "qcow2", at("disk.qcow2"), "3M");
  await dvcrImport(at("disk.qcow2"), layout);
  await tool("qemu-img", "resize", "-q", at("disk.qcow2"), "4M");
  expect(await dvcrImport(at("disk.qcow2"), layout)).toMatchObject({ virtualSize: 4 * MIB, layerPushed: true });
  expect(await dvcrImport(at("disk.qcow2"), layout)).toMatchObject({ virtualSize: 4 * MIB, layerPushed: false });
});
