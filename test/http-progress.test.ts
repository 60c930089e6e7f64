/** Progress counts the bytes that come, also where several ranges are fetched at once and their turn comes later. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

import { OciLayoutDestination } from "../src/destination/oci.ts";
import { ProgressTracker } from "../src/metrics/progress.ts";
import type { RunningImport } from "../src/pipeline/import-image.ts";
import { ImportMemory } from "../src/pipeline/import-memory.ts";
import { importingWith } from "../src/pipeline/run-import.ts";
import { defaultRetryPolicy } from "../src/retry/retry.ts";
import { httpSource } from "../src/source/http/http-source.ts";
import { makeRawDisk } from "./support/disks.ts";
import { Origin, type Answer, type SeenGet } from "./support/origin.ts";
import { eventually } from "./support/pod.ts";

const mebibyte = 2 ** 20;
/** One connection is found slow at once. */
const parallel = { connections: 4, pieceBytes: mebibyte, watchMs: 20, slowBelow: 2 ** 40 };
let directory: string;
let disk: Buffer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-http-progress-"));
  disk = await readFile(await makeRawDisk(join(directory, "disk.raw"), 16));
});
afterAll(() => rm(directory, { recursive: true }));

let layouts = 0;

function start(origin: Origin, signal: AbortSignal): RunningImport {
  const policy = { ...defaultRetryPolicy, firstDelayMs: 1 };
  const source = httpSource(`${origin.url}/disk`, {
    tls: { verify: true },
    proxies: {},
    headers: {},
    parallel,
    policy,
  });
  return importingWith(new ImportMemory())(
    source,
    new OciLayoutDestination(join(directory, `layout-${String((layouts += 1))}`), "v1"),
    {
      checksums: [],
      compression: "none",
      format: "raw",
      allowNested: false,
      manifestKind: "oci",
      limits: { maxVirtualSize: 2 ** 40, maxScratch: 2 ** 30, maxDecoderMemory: 2 ** 28 },
      scratchDirectory: directory,
    },
    signal,
  );
}

/** First byte of a piece of the stream; undefined for the stream itself and for questions about metadata. */
function pieceAt({ headers }: SeenGet): number | undefined {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "") ?? [];
  return Number(last) - Number(first) + 1 === mebibyte ? Number(first) : undefined;
}

/** Everything that progress() showed of an import that goes through; it may not fall nor pass the size. */
async function imported(script: (request: SeenGet, index: number) => Answer): Promise<void> {
  await using origin = await Origin.start(disk, script);
  const running = start(origin, new AbortController().signal);
  const seen: number[] = [];
  const timer = setInterval(() => seen.push(running.progress().sourceBytes), 2);
  try {
    await running.done;
  } finally {
    clearInterval(timer);
  }
  expect(origin.seen.some((request) => pieceAt(request) !== undefined)).toBe(true);
  expect(running.progress()).toMatchObject({ sourceBytes: disk.length, sourceSize: disk.length });
  expect(seen).toEqual([...seen].sort((one, other) => one - other));
  expect(seen.filter((bytes) => bytes > disk.length)).toEqual([]);
}

test("ranges that come ahead of one that stands still are counted, on the gauges too", async () => {
  let stalled: number | undefined;
  let pieces = 0;
  await using origin = await Origin.start(disk, (request) => {
    const at = pieceAt(request);
    if (at === undefined) return { trickle: true };
    // The first few are on trial while another connection brings the same bytes.
    if ((pieces += 1) === 6) stalled = at;
    return at === stalled ? { stallAfter: 1000 } : {};
  });
  const abort = new AbortController();
  const running = start(origin, abort.signal);
  const ended = running.done.catch((error: unknown) => error);
  const tracker = new ProgressTracker();
  tracker.attach(() => running.progress());
  await eventually(() => stalled !== undefined && running.progress().sourceBytes >= stalled + 1000 + 3 * mebibyte);
  // Questions about the file's end have been answered by now and count for nothing.
  expect(running.progress().sourceBytes).toBe(stalled! + 1000 + 3 * mebibyte);
  expect(tracker.percent()).toBeCloseTo((100 * (stalled! + 1000 + 3 * mebibyte)) / disk.length, 1);
  expect(tracker.sample().sourceBytes).toBe(stalled! + 1000 + 3 * mebibyte);
  abort.abort(new Error("enough"));
  await ended;
});

test("what is shown never falls and ends with the size where ranges are cut", async () => {
  await imported((_, index) => (index % 3 === 2 ? { cutAfter: 100_000 } : { trickle: true }));
});

test("nor where the server refuses them after it gave some, and what came ahead is fetched again", async () => {
  let pieces = 0;
  await imported((request) =>
    pieceAt(request) !== undefined && (pieces += 1) === 2 ? { status: 429 } : { trickle: true },
  );
});
