import { readdir } from "node:fs/promises";
import { expect, test } from "vitest";

import { Scratch } from "../src/pipeline/scratch.ts";
import { patternBytes } from "./support/disks.ts";
import { temporaryDirectory } from "./support/tools.ts";

const mebibyte = 2 ** 20;
const piece = patternBytes(mebibyte, 3);

/** Appends pieces until one is refused; gives how many were kept. */
async function fill(
  limit: number,
  coreBytes: () => number,
): Promise<{ kept: number; peak: number; reasons: string[]; left: string[] }> {
  await using work = await temporaryDirectory();
  const reasons: string[] = [];
  const scratch = new Scratch({ directory: work.path, limit, coreBytes, onDropped: (reason) => reasons.push(reason) });
  const layer = scratch.keepLayer();
  let kept = 0;
  while (await layer.append([piece])) kept += 1;
  const left = await readdir(work.path);
  await layer.close();
  return { kept, peak: scratch.peak, reasons, left };
}

test("a layer is kept up to the limit of scratch, then dropped whole and said so", async () => {
  const { kept, peak, reasons, left } = await fill(5 * mebibyte, () => 0);
  expect({ kept, peak, left }).toEqual({ kept: 5, peak: 5 * mebibyte, left: [] });
  expect(reasons).toEqual([`${String(6 * mebibyte)} bytes would be in scratch, ${String(5 * mebibyte)} are allowed`]);
});

test("beside the core's own copy there is room for what the core adds until the next look", async () => {
  let core = mebibyte;
  const { kept, peak } = await fill(40 * mebibyte, () => (core += mebibyte));
  expect(kept).toBe(7);
  expect(peak + 24 * mebibyte).toBeLessThanOrEqual(40 * mebibyte);
});

test("the kept layer and the backlog share the import's limit", async () => {
  await using work = await temporaryDirectory();
  const reasons: string[] = [];
  const scratch = new Scratch({
    directory: work.path,
    limit: 5 * mebibyte,
    coreBytes: () => 0,
    onDropped: (reason) => reasons.push(reason),
  });
  const [kept, backlog] = [scratch.keepLayer(), scratch.backlog()];
  expect(await backlog.append([piece, piece, piece])).toBe(true);
  expect(await kept.append([piece, piece])).toBe(true);
  expect(scratch.used).toBe(5 * mebibyte);
  expect(await backlog.append([piece])).toBe(false);
  // The file is as long as before until all of it was taken.
  await backlog.take(mebibyte);
  expect(scratch.used).toBe(5 * mebibyte);
  await backlog.take(2 * mebibyte);
  expect(scratch.used).toBe(2 * mebibyte);
  expect(await backlog.append([piece, piece, piece])).toBe(true);
  expect(await kept.append([piece])).toBe(false);
  expect(reasons).toEqual([`${String(6 * mebibyte)} bytes would be in scratch, ${String(5 * mebibyte)} are allowed`]);
  // Until the registry has confirmed what follows, what was kept may be needed.
  expect([scratch.used, scratch.peak]).toEqual([5 * mebibyte, 5 * mebibyte]);
  await kept.close();
  expect(scratch.used).toBe(3 * mebibyte);
  await scratch.clear();
  expect(scratch.used).toBe(0);
});

test("what was kept is read from any place", async () => {
  await using work = await temporaryDirectory();
  const scratch = new Scratch({
    directory: work.path,
    limit: 10 * mebibyte,
    coreBytes: () => 0,
    onDropped: () => undefined,
  });
  const layer = scratch.keepLayer();
  await layer.append([piece.subarray(0, 700_000), piece.subarray(700_000)]);
  const parts: Uint8Array[] = [];
  for await (const part of layer.read(699_990, 20)) parts.push(part);
  expect(Buffer.concat(parts)).toEqual(piece.subarray(699_990, 700_010));
  await layer.close();
});
