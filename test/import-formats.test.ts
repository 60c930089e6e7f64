import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { dvcrImport, dvcrImportWith } from "./support/cli.ts";
import {
  fileDigest,
  makeRawDisk,
  qemuConvert,
  qemuIo,
  qemuRawDigest,
  randomWrites,
  textDisk,
} from "./support/disks.ts";
import { pullDisk, umociDiskDigest } from "./support/pulled.ts";
import { startRegistry, type TestRegistry } from "./support/registry.ts";
import { tool } from "./support/tools.ts";

let directory: string;
let raw: string;
let registry: TestRegistry;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-formats-"));
  raw = await makeRawDisk(join(directory, "disk.raw"));
  registry = await startRegistry();
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

const at = (name: string) => join(directory, name);
const inRegistry = (name: string) => `docker://${registry.host}/formats/${name}:1`;
const inLayout = (name: string) => `oci:${at("layout")}:${name}`;
const qcow2 = (name: string, ...options: string[]) => qemuConvert(raw, at(name), "-O", "qcow2", ...options);

/** Written front to back by its tool: one pass, nothing kept, also from a pipe. */
const inOrder: readonly (readonly [string, () => Promise<string>])[] = [
  ["plain", () => qcow2("plain")],
  ["zlib clusters", () => qcow2("zlib", "-c")],
  ["zstd clusters", () => qcow2("zstd", "-c", "-o", "compression_type=zstd")],
  ["512 byte clusters", () => qcow2("c512", "-o", "cluster_size=512")],
  ["4 KiB clusters", () => qcow2("c4k", "-o", "cluster_size=4k")],
  ["2 MiB clusters", () => qcow2("c2m", "-o", "cluster_size=2M")],
  ["compressed 2 MiB clusters", () => qcow2("c2mz", "-c", "-o", "cluster_size=2M")],
  ["subclusters", () => qcow2("ext", "-o", "extended_l2=on,cluster_size=128k")],
  ["version 2", () => qcow2("v2", "-o", "compat=0.10")],
];

/** Clusters or tables stand in another order than the disk's. */
const outOfOrder: readonly (readonly [string, () => Promise<string>])[] = [
  [
    "resized, its L1 at the end",
    async () => {
      const path = await qcow2("resized");
      await tool("qemu-img", "resize", path, "1200M");
      return path;
    },
  ],
  ["written by several threads", () => qcow2("unordered", "-W", "-m", "16")],
  [
    "written at random",
    async () => {
      const path = at("random");
      await tool("qemu-img", "create", "-f", "qcow2", path, "48M");
      await qemuIo(path, randomWrites(300, 48, 3));
      return path;
    },
  ],
  [
    "with internal snapshots",
    async () => {
      const path = await qcow2("snapshots");
      await tool("qemu-img", "snapshot", "-c", "before", path);
      await qemuIo(path, randomWrites(60, 48, 5));
      await tool("qemu-img", "snapshot", "-c", "between", path);
      await qemuIo(path, randomWrites(30, 48, 9));
      return path;
    },
  ],
];

describe("a qcow2 image", () => {
  it.each(inOrder)(
    "%s is stored as qemu-img reads it, with no scratch, from a file and from a pipe",
    async (_, make) => {
      const image = await make();
      const name = basename(image);
      const report = await dvcrImport(image, inRegistry(name), "--scratch-limit", "0");
      const piped = await dvcrImportWith({ input: image }, "-", inLayout(name), "--scratch-limit", "0");

      expect(report).toMatchObject({ sourceFormat: "qcow2", format: "raw", scratchPeak: 0, sizeFrom: "header" });
      expect(piped).toMatchObject({
        manifestDigest: report.manifestDigest,
        layerDigest: report.layerDigest,
        scratchPeak: 0,
      });
      const expected = await qemuRawDigest(image, directory);
      expect((await pullDisk(inRegistry(name), directory)).digest).toBe(expected);
      expect(await umociDiskDigest(at("layout"), name, directory)).toBe(expected);
    },
  );

  it.each(outOfOrder)("%s is stored as qemu-img reads it, from a file and from a pipe", async (_, make) => {
    const image = await make();
    const name = basename(image);
    const report = await dvcrImport(image, inRegistry(name));
    const piped = await dvcrImportWith({ input: image }, "-", inLayout(name));

    expect(piped).toMatchObject({ manifestDigest: report.manifestDigest, diffId: report.diffId });
    const expected = await qemuRawDigest(image, directory);
    expect((await pullDisk(inRegistry(name), directory)).digest).toBe(expected);
    expect(await umociDiskDigest(at("layout"), name, directory)).toBe(expected);
  });
});

const packers: readonly (readonly [string, readonly string[]])[] = [
  [".gz", ["gzip", "-1"]],
  [".xz", ["xz", "-0", "-T1"]],
  [".xz", ["xz", "-0", "-T2", "--block-size=4MiB"]],
  [".zst", ["zstd", "-q", "-1"]],
];

/** Packs a file with the real tool through a shell redirection, as people do. */
async function packed(path: string, index: number): Promise<string> {
  const [suffix, command] = packers[index]!;
  const target = `${path}-${index}${suffix}`;
  await tool("sh", "-c", `${command.join(" ")} < "$1" > "$2"`, "sh", path, target);
  return target;
}

describe("a compressed image", () => {
  it.each(packers.map(([suffix, command], index) => [command.join(" "), index, suffix] as const))(
    "%s around qcow2",
    async (_, index) => {
      const image = await qcow2("inner", "-c");
      const report = await dvcrImport(await packed(image, index), inRegistry(`inner-${index}`), "--scratch-limit", "0");
      expect(report).toMatchObject({ sourceFormat: "qcow2", scratchPeak: 0 });
      expect((await pullDisk(inRegistry(`inner-${index}`), directory)).digest).toBe(await fileDigest(raw));
    },
  );

  it.each(packers.map(([, command], index) => [command.join(" "), index] as const))(
    "%s around raw, from a file and from a pipe of unknown length",
    async (_, index) => {
      const image = await packed(raw, index);
      const report = await dvcrImport(image, inRegistry(`raw-${index}`));
      const piped = await dvcrImportWith({ input: image }, "-", inLayout(`raw-${index}`));
      expect(report).toMatchObject({ sourceFormat: "raw", virtualSize: 48 << 20 });
      expect(piped.layerDigest).toBe(report.layerDigest);
      expect((await pullDisk(inRegistry(`raw-${index}`), directory)).digest).toBe(await fileDigest(raw));
      expect(await umociDiskDigest(at("layout"), `raw-${index}`, directory)).toBe(await fileDigest(raw));
    },
  );
});

describe("what is stored byte for byte", () => {
  it.each(["gzip", "zstd", "none"])("a raw disk of odd size, layer %s", async (compression) => {
    const odd = at("odd.raw");
    await writeFile(odd, textDisk(3 * (1 << 20) + 17, 5));
    const report = await dvcrImport(odd, inRegistry(`odd-${compression}`), "--compression", compression);
    const pulled = await pullDisk(inRegistry(`odd-${compression}`), directory);
    expect(pulled).toMatchObject({
      digest: await fileDigest(odd),
      size: 3 * (1 << 20) + 17,
      names: ["disk", "disk/disk.img"],
    });
    expect(report.virtualSize).toBe(3 * (1 << 20) + 17);
  });

  it("an ISO of 700 MiB", async () => {
    const tree = at("tree");
    await tool(
      "sh",
      "-c",
      `mkdir -p "$1" && truncate -s 690M "$1/big" && head -c 9M /dev/urandom > "$1/noise"`,
      "sh",
      tree,
    );
    const iso = at("disc.iso");
    await tool("genisoimage", "-quiet", "-R", "-o", iso, tree);
    const report = await dvcrImport(iso, inRegistry("iso"), "--scratch-limit", "0");
    expect(report).toMatchObject({ sourceFormat: "iso", format: "iso", scratchPeak: 0 });
    expect((await pullDisk(inRegistry("iso"), directory)).digest).toBe(await fileDigest(iso));
  });

  it("a qcow2 file with --format source", async () => {
    const image = await qcow2("kept", "-c");
    const report = await dvcrImport(image, inRegistry("kept"), "--format", "source", "--compression", "none");
    expect(report).toMatchObject({ sourceFormat: "qcow2", format: "qcow2", virtualSize: 48 << 20 });
    expect((await pullDisk(inRegistry("kept"), directory)).digest).toBe(await fileDigest(image));
  });
});

describe("importing the same file to the same tag again", () => {
  it("pushes no layer bytes the second time", async () => {
    const image = await qcow2("twice", "-c");
    const first = await dvcrImport(image, inRegistry("twice"));
    const second = await dvcrImport(image, inRegistry("twice"));
    expect(first.layerPushed).toBe(true);
    expect(second).toMatchObject({ layerPushed: false, manifestDigest: first.manifestDigest });
  });
});
