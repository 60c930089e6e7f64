/** While the registry takes nothing, what is written goes to scratch and its writers go on. */
import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { expect, test, vi } from "vitest";

import type { LayerBacklog, LayerInsurance, LayerUpload } from "../src/layer/layer-upload.ts";
import { RegistryDestination } from "../src/destination/docker.ts";
import { Scratch } from "../src/pipeline/scratch.ts";
import { statBlob } from "../src/registry/blobs.ts";
import { patternBytes } from "./support/disks.ts";
import { FaultProxy } from "./support/fault-proxy.ts";
import { startRegistry } from "./support/registry.ts";
import { temporaryDirectory } from "./support/tools.ts";

const mebibyte = 2 ** 20;
const layer = patternBytes(30 * mebibyte, 7);
const digest = `sha256:${createHash("sha256").update(layer).digest("hex")}`;
const pieces = Array.from({ length: 30 }, (_, index) => layer.subarray(index * mebibyte, (index + 1) * mebibyte));
const { signal } = new AbortController();

/** A backlog that tells what became of every attempt to add to it. */
class WatchedBacklog implements LayerBacklog {
  readonly answers: boolean[] = [];
  readonly scratch: Scratch;
  readonly #backlog: LayerBacklog;

  constructor(scratch: Scratch) {
    this.scratch = scratch;
    this.#backlog = scratch.backlog();
  }

  get size(): number {
    return this.#backlog.size;
  }

  async append(chunks: readonly Uint8Array[]): Promise<boolean> {
    const fits = await this.#backlog.append(chunks);
    this.answers.push(fits);
    return fits;
  }

  take(most: number): Promise<Uint8Array[]> {
    return this.#backlog.take(most);
  }
}

const scratchIn = (directory: string, limit: number): Scratch =>
  new Scratch({ directory, limit, coreBytes: () => 0, onDropped: () => undefined });

/** No room for a copy: what was sent is held until a PATCH is answered. */
const noRoom: LayerInsurance = {
  size: 0,
  append: () => Promise.resolve(false),
  read: () => {
    throw new Error("nothing was kept");
  },
  close: () => Promise.resolve(),
};

/** Pushes the layer while the registry takes nothing at first. `write` makes all writes meanwhile and returns them. */
async function pushWhileAway(
  limit: number,
  write: (upload: LayerUpload, backlog: WatchedBacklog) => Promise<Promise<void>[]>,
): Promise<void> {
  await using work = await temporaryDirectory();
  await using registry = await startRegistry();
  let away = true;
  await using proxy = await FaultProxy.start(registry.host, ({ method }) =>
    away && method === "PATCH" ? "stall" : "pass",
  );
  const to = new RegistryDestination(
    { host: proxy.host, repository: "r", tag: "v1" },
    {
      tls: { verify: false },
      credentials: () => Promise.resolve(undefined),
      stallTimeoutMs: 2000,
      upload: { patchBytes: 4 * mebibyte, backlogAfterMs: 1 },
    },
  );
  const backlog = new WatchedBacklog(scratchIn(work.path, limit));
  try {
    const upload = await to.beginLayer(signal, noRoom, backlog);
    const writes = await write(upload, backlog);
    expect(await readdir(work.path)).toEqual([]);
    away = false;
    await Promise.all(writes);
    await upload.commit(digest, layer.length);
    expect(backlog.size).toBe(0);
    expect(await statBlob(to.client, "r", digest, signal)).toBe(layer.length);
    expect(await registry.sessions("r")).toEqual([]);
  } finally {
    await backlog.scratch.clear();
    await to.close();
  }
}

/** What the system's buffers take of a connection that nobody reads. */
const onTheWay = 12;

test("what is written is taken, kept in order, and stored when the registry is back", async () => {
  await pushWhileAway(2 ** 30, async (upload, backlog) => {
    const writes = pieces.map((piece) => upload.write(piece));
    await Promise.all(writes.slice(onTheWay));
    expect(backlog.size).toBeGreaterThanOrEqual((30 - onTheWay) * mebibyte);
    expect(backlog.scratch.peak).toBe(backlog.size);
    return writes.slice(0, onTheWay);
  });
});

test("beyond the limit of scratch the writers wait, and nothing is lost", async () => {
  await pushWhileAway(8 * mebibyte, async (upload, backlog) => {
    let told = 0;
    const writes = pieces.map((piece) => upload.write(piece).then(() => void (told += 1)));
    await vi.waitUntil(() => backlog.answers.includes(false));
    expect(backlog.size).toBeLessThanOrEqual(8 * mebibyte);
    expect(told * mebibyte).toBe(backlog.size);
    return writes;
  });
});

test("what was added comes out in order, in pieces of any size, and its file has no name", async () => {
  await using work = await temporaryDirectory();
  const scratch = scratchIn(work.path, 2 ** 30);
  const backlog = scratch.backlog();
  expect(await backlog.append(pieces.slice(0, 3))).toBe(true);
  expect(Buffer.concat(await backlog.take(mebibyte + 5)).equals(layer.subarray(0, mebibyte + 5))).toBe(true);
  expect(await backlog.append(pieces.slice(3, 5))).toBe(true);
  expect(Buffer.concat(await backlog.take(2 ** 30)).equals(layer.subarray(mebibyte + 5, 5 * mebibyte))).toBe(true);
  expect(backlog.size).toBe(0);
  await scratch.clear();
  expect(await readdir(work.path)).toEqual([]);
});
