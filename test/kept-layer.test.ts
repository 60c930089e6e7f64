import { readdir } from "node:fs/promises";
import { expect, test } from "vitest";

import { KeptLayer } from "../src/pipeline/kept-layer.ts";
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
  const layer = new KeptLayer({ directory: work.path, limit, coreBytes, onDropped: (reason) => reasons.push(reason) });
  let kept = 0;
  while (await layer.append([piece])) kept += 1;
  const left = await readdir(work.path);
  await layer.close();
  return { kept, peak: layer.peak, reasons, left };
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

test("what was kept is read from any place", async () => {
  await using work = await temporaryDirectory();
  const layer = new KeptLayer({
    directory: work.path,
    limit: 10 * mebibyte,
    coreBytes: () => 0,
    onDropped: () => undefined,
  });
  await layer.append([piece.subarray(0, 700_000), piece.subarray(700_000)]);
  const parts: Uint8Array[] = [];
  for await (const part of layer.read(699_990, 20)) parts.push(part);
  expect(Buffer.concat(parts)).toEqual(piece.subarray(699_990, 700_010));
  await layer.close();
});
