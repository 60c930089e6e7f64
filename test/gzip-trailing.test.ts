/** Data behind a complete gzip stream, as OpenWrt's images have it: left out where the disk before it is whole. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { dvcr } from "./support/cli.ts";
import { fileDigest, patternBytes } from "./support/disks.ts";
import { umociDiskDigest } from "./support/pulled.ts";
import { temporaryDirectory } from "./support/tools.ts";

const sector = 512;
const sectors = 4096;
/** As fwtool appends it: metadata in JSON, then a signature. */
const metadata = Buffer.concat([Buffer.from('FWx0{"supported_devices":["x"]}'), patternBytes(64, 3)]);

/** A disk with a partition table, whose one partition ends with it or `beyond` so many sectors further. */
function disk(beyond = 0): Buffer {
  const bytes = patternBytes(sectors * sector, 4);
  bytes.fill(0, 0, sector);
  bytes[446 + 4] = 0x83;
  bytes.writeUInt32LE(64, 446 + 8);
  bytes.writeUInt32LE(sectors - 64 + beyond, 446 + 12);
  bytes.writeUInt16LE(0xaa55, 510);
  return bytes;
}

let work: Awaited<ReturnType<typeof temporaryDirectory>>;
beforeAll(async () => {
  work = await temporaryDirectory();
});
afterAll(() => work[Symbol.asyncDispose]());

async function imported(name: string, content: Uint8Array, isPiped: boolean) {
  const file = join(work.path, `${name}.img.gz`);
  await writeFile(file, Buffer.concat([gzipSync(content), metadata]));
  const tag = `${name}-${isPiped ? "pipe" : "file"}`;
  const args = ["import", "--json", "--quiet", isPiped ? "-" : file, `oci:${join(work.path, "layout")}:${tag}`];
  return { tag, ...(await dvcr(args, isPiped ? { input: file } : {})) };
}

describe.each([
  ["a file", false],
  ["a pipe", true],
])("metadata behind a gzip stream, from %s", (_, isPiped) => {
  it("is left out with a warning where the partition table says that the disk is whole", async () => {
    await writeFile(join(work.path, "whole.raw"), disk());
    const { code, stdout, stderr, tag } = await imported("whole", disk(), isPiped);
    expect(code, stderr).toBe(0);
    const { warnings, virtualSize } = JSON.parse(stdout) as { warnings: string[]; virtualSize: number };
    expect(virtualSize).toBe(sectors * sector);
    expect(warnings.join("\n")).toMatch(/left out/);
    const layout = join(work.path, "layout");
    expect(await umociDiskDigest(layout, tag, work.path)).toBe(await fileDigest(join(work.path, "whole.raw")));
  });

  it.each([
    ["further", disk(8)],
    ["nothing", patternBytes(sectors * sector, 5).fill(0, 0, sector)],
  ])("is refused where the partition table says %s: it may be a cut", async (name, content) => {
    const { code, stderr } = await imported(name, content, isPiped);
    expect([code, stderr]).toEqual([3, expect.stringMatching(/^E_(?:TRAILING_DATA|TRUNCATED): /)]);
  });
});
