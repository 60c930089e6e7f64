/** What many imports in one process hold together. */
import { readFile, rm } from "node:fs/promises";
import { afterEach, expect, it } from "vitest";

import type { NativeJob } from "../src/native/addon.ts";
import { Feed } from "../src/pipeline/feed.ts";
import { ImportMemory } from "../src/pipeline/import-memory.ts";
import { secureContext } from "../src/outbound/tls.ts";
import { makeCertificates } from "./support/certificates.ts";

const mebibyte = 1 << 20;
const feeds: Feed[] = [];
let memory = new ImportMemory();
afterEach(() => {
  for (const feed of feeds.splice(0)) feed.close();
  memory = new ImportMemory();
});

/** A feed whose core takes what it is pushed and gives nothing back; tells how many MiB it has taken. */
function stalled(): { readonly feed: Feed; readonly taken: () => number; readonly release: () => void } {
  const batches: number[] = [];
  let waiting = 0;
  const job = {
    push: (batch: number) => {
      batches.push(batch);
      waiting += 1;
    },
    end: () => undefined,
  } as unknown as NativeJob;
  const feed = new Feed(job, memory);
  feeds.push(feed);
  void feed.run(
    (async function* () {
      for (;;) {
        await Promise.resolve();
        yield Buffer.alloc(mebibyte);
      }
    })(),
  );
  return {
    feed,
    taken: () => waiting,
    release: () => {
      for (const batch of batches.splice(0)) feed.released(batch);
    },
  };
}

const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};
const sum = (all: readonly { readonly taken: () => number }[]): number =>
  all.reduce((total, { taken }) => total + taken(), 0);

it("a chunk's memory is given back when the core has read it, unless it is part of a larger one", async () => {
  const batches: number[] = [];
  const job = { push: (batch: number) => batches.push(batch), end: () => undefined } as unknown as NativeJob;
  const feed = new Feed(job, memory);
  feeds.push(feed);
  const whole = Buffer.alloc(mebibyte, 1);
  const shared = Buffer.alloc(2 * mebibyte, 2);
  const part = shared.subarray(0, 1000);
  await feed.run(
    (async function* () {
      await Promise.resolve();
      yield whole;
      yield part;
    })(),
  );
  expect(whole.byteLength).toBe(mebibyte);
  for (const batch of batches) feed.released(batch);
  expect(whole.byteLength).toBe(0);
  expect(part.byteLength).toBe(1000);
  expect(shared.at(-1)).toBe(2);
});

it("six imports may each have all the source bytes that they can use in hand", async () => {
  const few = Array.from({ length: 6 }, stalled);
  await settled();
  expect(few.map(({ taken }) => taken())).toEqual([6, 6, 6, 6, 6, 6]);
});

it("thirty together have little more than six, and each goes on when its own are taken", async () => {
  const many = Array.from({ length: 30 }, stalled);
  await settled();
  expect(sum(many)).toBeLessThanOrEqual(6 * 6 + 30 * 3);
  const before = many.map(({ taken }) => taken());
  expect(Math.min(...before)).toBeGreaterThanOrEqual(2);
  many[29]!.release();
  await settled();
  expect(many[29]!.taken()).toBeGreaterThan(before[29]!);
});

it("what an ended import had in hand is given to the others", async () => {
  const first = Array.from({ length: 6 }, stalled);
  await settled();
  const late = stalled();
  await settled();
  expect(late.taken()).toBe(3);
  for (const { feed } of first) feed.close();
  late.release();
  await settled();
  expect(late.taken()).toBeGreaterThanOrEqual(6);
});

it("layer buffers are fewer for one of many, and for a destination that needs fewer", () => {
  const first = Array.from({ length: 6 }, () => memory.enter().length);
  const late = [memory.enter(), memory.enter(6)].map(({ length }) => length);
  for (let left = 0; left < 8; left += 1) memory.leave();
  const alone = [memory.enter(), memory.enter(6)].map(({ length }) => length);
  expect({ first, late, alone }).toEqual({ first: [24, 24, 24, 24, 24, 24], late: [12, 6], alone: [24, 6] });
});

it("two memories share nothing: what one has in hand leaves the other all of its own", async () => {
  Array.from({ length: 12 }, stalled);
  memory = new ImportMemory();
  const other = stalled();
  await settled();
  expect(other.taken()).toBe(6);
});

it("certificates are parsed once for all connections that trust the same", async () => {
  const certificates = makeCertificates();
  try {
    const authority = await readFile(certificates.ca, "utf8");
    const [plain, again, own, ownAgain] = await Promise.all(
      [{}, {}, { authorities: [authority] }, { authorities: [authority] }].map((more) =>
        secureContext({ verify: true, ...more }),
      ),
    );
    expect(again === plain && ownAgain === own).toBe(true);
    expect(own === plain).toBe(false);
  } finally {
    await rm(certificates.directory, { recursive: true, force: true });
  }
});
