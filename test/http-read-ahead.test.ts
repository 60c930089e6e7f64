/**
 * What stands at the end of a file is asked for first where the server gives ranges: nothing goes to scratch for it.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";

import { OciLayoutDestination } from "../src/destination/oci.ts";
import type { ImportReport } from "../src/pipeline/import-image.ts";
import { ImportMemory } from "../src/pipeline/import-memory.ts";
import { importingWith } from "../src/pipeline/run-import.ts";
import { httpSource } from "../src/source/http/http-source.ts";
import { fileDigest, makeRawDisk, patternBytes, qemuConvert, qemuRawDigest, textBytes } from "./support/disks.ts";
import { FakeClock } from "./support/fake-registry.ts";
import { Origin, type Answer, type SeenGet } from "./support/origin.ts";
import { umociDiskDigest } from "./support/pulled.ts";
import { tool } from "./support/tools.ts";
import { streamedVmdk } from "./support/vmdk.ts";

const mebibyte = 2 ** 20;
/** What all questions about a file's end may bring. */
const readAhead = 64 * 1024;
let directory: string;
/** 48 MiB without a partition table. */
let plain: string;
/** 48 MiB with an MBR, and 48 MiB with a GPT. */
let mbr: string;
let gpt: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-read-ahead-"));
  plain = await makeRawDisk(join(directory, "plain.raw"));
  mbr = await makeRawDisk(join(directory, "mbr.raw"));
  await sfdisk(mbr, "label: dos\n,40M,83\n");
  gpt = await makeRawDisk(join(directory, "gpt.raw"));
  await sfdisk(gpt, "label: gpt\n,40M\n");
});

afterAll(() => rm(directory, { recursive: true }));

async function sfdisk(disk: string, script: string): Promise<void> {
  const file = join(directory, "script");
  await writeFile(file, script);
  await tool("sh", "-c", `sfdisk --quiet --no-reread --no-tell-kernel --wipe never "$0" < "$1"`, disk, file);
}

interface Imported {
  readonly report: ImportReport;
  readonly digest: string;
  readonly notices: readonly string[];
  /** Bytes that the server sent. */
  readonly served: number;
  /** Requests beside those for the whole file. */
  readonly questions: number;
}

interface Given {
  readonly scratchLimit?: number;
  readonly sourceFormat?: string;
  readonly script?: (request: SeenGet, index: number) => Answer;
}

/** One connection for the stream, however slow the machine is, so that bytes can be counted. */
const single = { connections: 1, pieceBytes: mebibyte, watchMs: Infinity, slowBelow: 0 };
let layouts = 0;

async function importFrom(
  content: Uint8Array,
  { scratchLimit = 2 ** 30, sourceFormat, script }: Given,
): Promise<Imported> {
  await using origin = await Origin.start(content, script);
  const layout = join(directory, `layout-${String((layouts += 1))}`);
  const notices: string[] = [];
  const source = httpSource(`${origin.url}/file`, {
    tls: { verify: true },
    proxies: {},
    headers: {},
    parallel: single,
    clock: new FakeClock(),
  });
  const { done } = importingWith(new ImportMemory())(
    source,
    new OciLayoutDestination(layout, "v1"),
    {
      checksums: [],
      compression: "gzip",
      format: "raw",
      ...(sourceFormat === undefined ? {} : { sourceFormat }),
      allowNested: false,
      manifestKind: "oci",
      limits: { maxVirtualSize: 2 ** 40, maxScratch: scratchLimit, maxDecoderMemory: 2 ** 28 },
      scratchDirectory: directory,
      onNotice: (text) => notices.push(text),
    },
    new AbortController().signal,
  );
  const report = await done;
  return {
    report,
    digest: await umociDiskDigest(layout, "v1", await mkdtemp(join(directory, "bundle-"))),
    notices,
    served: origin.served,
    questions: origin.seen.filter(({ headers }) => headers.range !== "bytes=0-").length,
  };
}

const converted =
  (raw: () => string, name: string, ...options: string[]) =>
  async (): Promise<Uint8Array> =>
    await readFile(await qemuConvert(raw(), join(directory, name), ...options));
const gzipped = async (raw: string): Promise<Uint8Array> => gzipSync(await readFile(raw), { level: 1 });

async function xzOf(raw: string): Promise<Uint8Array> {
  await tool("xz", "-1", "-k", "-f", "-T1", raw);
  return await readFile(`${raw}.xz`);
}

test.each<[string, () => Promise<Uint8Array>, () => string, Partial<ImportReport>]>([
  [
    "the footer of a streamed VMDK",
    async () => streamedVmdk(await readFile(plain)),
    () => plain,
    { sourceFormat: "vmdk", sizeFrom: "header" },
  ],
  [
    "the footer of a fixed VHD that nobody declared",
    converted(() => plain, "disk.vhd", "-O", "vpc", "-o", "subformat=fixed,force_size=on"),
    () => plain,
    { sourceFormat: "vpc", sizeFrom: "header" },
  ],
  ["the index of an xz file", () => xzOf(plain), () => plain, { sourceFormat: "raw", sizeFrom: "xz-index" }],
  [
    "the trailer of a gzip file, beside an MBR",
    () => gzipped(mbr),
    () => mbr,
    { sourceFormat: "raw", sizeFrom: "gzip-isize" },
  ],
  ["the trailer of a gzip file, beside a GPT", () => gzipped(gpt), () => gpt, { sourceFormat: "raw", sizeFrom: "gpt" }],
])(
  "%s is read first, no more than that is downloaded twice, and nothing goes to scratch",
  async (_, make, raw, expected) => {
    const content = await make();
    const { report, digest, served, questions } = await importFrom(content, { scratchLimit: 0 });
    expect(report).toMatchObject({ ...expected, scratchPeak: 0 });
    expect(digest).toBe(await fileDigest(raw()));
    expect(questions).toBeGreaterThan(0);
    expect(served).toBeLessThanOrEqual(content.length + readAhead);
  },
);

test("the streamed VMDK is one that qemu-img reads as well", async () => {
  const image = join(directory, "streamed.vmdk");
  await writeFile(image, streamedVmdk(await readFile(plain)));
  expect(await qemuRawDigest(image, directory)).toBe(await fileDigest(plain));
});

test.each([1, 2, 3])(
  "a server that cuts at random (seed %i), questions too, costs no more than what was in flight",
  async (seed) => {
    const content = streamedVmdk(await readFile(plain));
    const noise = patternBytes(4096, seed);
    let cuts = 0;
    const script = (): Answer => ({ cutAfter: noise.readUInt32LE(4 * ((cuts += 1) % 1000)) % mebibyte });
    const { report, digest, served } = await importFrom(content, { scratchLimit: 0, script });
    expect(report.scratchPeak).toBe(0);
    expect(digest).toBe(await fileDigest(plain));
    expect(cuts).toBeGreaterThan(4);
    expect(served).toBeLessThanOrEqual(content.length + readAhead + cuts * mebibyte);
  },
);

test("without ranges the same files are imported too, by scratch or as declared", async () => {
  const script = (): Answer => ({ ignoreRange: true });
  const packed = await importFrom(await gzipped(mbr), { script });
  expect(packed.report).toMatchObject({ sizeFrom: "counted" });
  expect(packed.report.scratchPeak).toBeGreaterThan(0);
  expect(packed.digest).toBe(await fileDigest(mbr));
  const vhd = await converted(() => plain, "disk.vhd", "-O", "vpc", "-o", "subformat=fixed,force_size=on")();
  expect((await importFrom(vhd, { script, sourceFormat: "vpc" })).digest).toBe(await fileDigest(plain));
});

test(
  "a gzip trailer that no partition table confirms is a hint: what would be lost with it " + "stays in scratch",
  async () => {
    const content = await gzipped(plain);
    const { report, digest, served } = await importFrom(content, {});
    expect(report).toMatchObject({ sizeFrom: "gzip-isize" });
    expect(report.scratchPeak).toBeGreaterThan(0);
    expect(digest).toBe(await fileDigest(plain));
    expect(served).toBeLessThanOrEqual(content.length + readAhead);
  },
);

test("a gzip trailer and a partition table that are both wrong cost a second download, and no scratch", async () => {
  const disk = Buffer.concat([await readFile(mbr), textBytes(44 * mebibyte, 3)]);
  const raw = join(directory, "two.raw");
  await writeFile(raw, disk);
  // The last member's size alone stands in the trailer: 48 of 92 MiB, and the partition ends before that.
  const content = Buffer.concat([
    gzipSync(disk.subarray(0, 44 * mebibyte), { level: 1 }),
    gzipSync(disk.subarray(44 * mebibyte), { level: 1 }),
  ]);
  const { report, digest, notices, served } = await importFrom(content, { scratchLimit: 0 });
  expect(report).toMatchObject({ sizeFrom: "declared", scratchPeak: 0, virtualSize: disk.length });
  expect(digest).toBe(await fileDigest(raw));
  expect(notices).toEqual([expect.stringContaining("the source is read again")]);
  expect(served).toBeLessThanOrEqual(2 * (content.length + readAhead));
});
