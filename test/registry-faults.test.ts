/** Uploads in parts, and what may befall each request of them. */
import { expect, test } from "vitest";
import type { ScriptedExchange } from "./support/fake-registry.ts";
import {
  at,
  blob,
  bytes,
  digest,
  dropped,
  failure,
  followed,
  gone,
  holds,
  notRemoved,
  opened,
  patched,
  push,
  put,
  ranges,
  session,
  setup,
  spec,
  stored,
  uploads,
} from "./support/scripted-push.ts";

const { signal } = new AbortController();

test("every Location is followed and every PATCH says where its bytes belong", async () => {
  await using it = await setup([opened, patched(1000), patched(3000), ...stored]);
  await push(it);
  followed(it.fake);
  expect(ranges(it.fake)).toEqual(["0-999", "1000-2999"]);
  const states = it.fake.requests.slice(1, -1).map((one) => one.query.get("s"));
  expect(states).toEqual(["0", "1000", "3000"]);
  expect(it.fake.requests.at(-2)?.query.get("digest")).toBe(digest);
});

test("a PATCH cut in its middle goes on where the registry stands", async () => {
  await using it = await setup([
    opened,
    patched(1000),
    { ...patched(3000), cutRequestAfter: 500 },
    holds("0-1499"),
    patched(3000),
    ...stored,
  ]);
  await push(it);
  followed(it.fake);
  expect(ranges(it.fake)).toEqual(["0-999", "1000-2999", "1500-2999"]);
  expect(it.fake.requests.filter((one) => one.method === "PATCH").at(-1)?.body).toEqual(bytes.subarray(1500));
  expect(it.clock.sleeps).toEqual([1000]);
});

test("a PATCH whose answer was lost is not sent again", async () => {
  await using it = await setup([
    opened,
    patched(1000),
    { ...patched(3000), loseAnswer: true },
    holds("0-2999"),
    ...stored,
  ]);
  await push(it);
  followed(it.fake);
});

test("5xx and 429 are waited out, Retry-After as it says", async () => {
  await using it = await setup([
    { ...opened, status: 503, body: "away" },
    opened,
    { ...patched(1000), status: 429, headers: { "retry-after": "7" }, body: spec("TOOMANYREQUESTS") },
    holds("0-0"),
    { ...opened, headers: { location: `${uploads}2` } },
    ...dropped,
    { ...patched(1000), path: `${uploads}2`, headers: { range: "0-999" } },
    { ...patched(3000), path: `${uploads}2`, status: 500, headers: {}, body: spec("UNKNOWN") },
    { ...holds("0-999"), path: `${uploads}2`, headers: { range: "0-999" } },
    { ...patched(3000), path: `${uploads}2`, headers: { range: "0-2999" } },
    { ...at("2", put), status: 502 },
    { ...blob, status: 404, headers: {} },
    { ...holds("0-2999"), path: `${uploads}2`, headers: { range: "0-2999" } },
    at("2", put),
    blob,
  ]);
  await push(it);
  followed(it.fake);
  expect(it.clock.sleeps).toEqual([1000, 7000, 1000, 1000]);
});

test(
  "a read-only window is waited out for 17 minutes, then the session is removed and the " + "error says read-only",
  async () => {
    const closed = [
      { method: "PATCH", path: session, status: 405, headers: { allow: "GET, HEAD" }, body: "Method not allowed\n" },
      holds("0-999"),
    ];
    // 1 + 3 + 9 + 27 s, then a minute each.
    const tries = 4 + Math.ceil((17 * 60 - 40) / 60);
    await using it = await setup([
      opened,
      patched(1000),
      ...Array.from({ length: tries }, () => closed).flat(),
      closed[0] as ScriptedExchange,
      ...dropped,
    ]);
    expect(await failure(push(it))).toMatchObject({ code: "E_REGISTRY_READONLY" });
    followed(it.fake);
    expect(it.clock.now()).toBe(17 * 60_000);
  },
);

test.each([
  ["2.8", { DriverName: "filesystem", Enclosed: { Op: "write", Path: "/x", Err: 28 } }],
  ["3.x", "filesystem: write /x: no space left on device"],
])("a full registry (%s) ends the push at once, on POST and on PATCH", async (_, detail) => {
  const full = { status: 500, headers: {}, body: spec("UNKNOWN", detail) };
  await using atPost = await setup([{ ...opened, ...full }]);
  await using atPatch = await setup([opened, { ...patched(1000), ...full }, ...dropped]);
  for (const it of [atPost, atPatch]) {
    const error = await failure(push(it));
    expect(error).toMatchObject({ code: "E_REGISTRY_FULL" });
    expect(String(error)).toMatch(/POST.*Err:28\D/);
    expect(String(error)).toContain(it.fake.host);
    followed(it.fake);
    expect(it.clock.sleeps).toEqual([]);
  }
});

test("a session lost while everything is in hand is begun again", async () => {
  await using it = await setup([
    opened,
    { ...patched(1000), loseAnswer: true },
    gone,
    { ...opened, headers: { location: `${uploads}2` } },
    ...notRemoved,
    { ...patched(1000), path: `${uploads}2`, headers: { range: "0-999" } },
    { ...patched(3000), path: `${uploads}2`, headers: { range: "0-2999" } },
    at("2", put),
    blob,
  ]);
  await push(it);
  followed(it.fake);
  expect(ranges(it.fake)).toEqual(["0-999", "0-999", "1000-2999"]);
});

test("a session lost later is said to be lost, and nothing is left behind", async () => {
  await using it = await setup([
    opened,
    patched(1000),
    { ...patched(3000), loseAnswer: true },
    gone,
    { ...opened, headers: { location: `${uploads}2` } },
    ...notRemoved,
    ...dropped.map((one) => ({ ...one, path: `${uploads}2`, headers: {} })),
  ]);
  expect(await failure(push(it))).toMatchObject({ code: "E_REGISTRY_UNAVAILABLE", sessionLost: true });
  followed(it.fake);
});

test("a session lost because the registry is full is told as full", async () => {
  await using it = await setup([
    opened,
    patched(1000),
    { ...patched(3000), loseAnswer: true },
    gone,
    { ...opened, status: 500, headers: {}, body: spec("UNKNOWN", "no space left on device") },
    ...notRemoved,
  ]);
  expect(await failure(push(it))).toMatchObject({ code: "E_REGISTRY_FULL" });
  followed(it.fake);
});

test.each(["0-499", "0-9999"])(
  "a registry that holds other bytes than were acknowledged (%s) never gets a mixed blob",
  async (range) => {
    await using it = await setup([
      opened,
      patched(1000),
      { ...patched(3000), headers: { range } },
      { ...put, status: 400, body: spec("DIGEST_INVALID") },
      { ...blob, status: 404, headers: {} },
      holds(range),
      { ...opened, headers: { location: `${uploads}2` } },
      ...dropped,
      ...dropped.map((one) => ({ ...one, path: `${uploads}2`, headers: {} })),
    ]);
    expect(await failure(push(it))).toMatchObject({ sessionLost: true });
    followed(it.fake);
  },
);

test("a PUT whose answer was lost is done when the blob is there", async () => {
  await using it = await setup([opened, patched(1000), patched(3000), { ...put, loseAnswer: true }, blob, blob]);
  await push(it);
  followed(it.fake);
});

test("small chunks are given back before the caller's pool runs dry", async () => {
  await using it = await setup([opened, patched(12), ...dropped], {
    upload: { flushAfterMs: 1 << 30 },
  });
  const upload = await it.to.beginLayer(signal);
  await Promise.all(Array.from({ length: 12 }, () => upload.write(Buffer.alloc(1))));
  await upload.abort();
  followed(it.fake);
});

test("a registry's least size of a PATCH is kept to, and small chunks are given back meanwhile", async () => {
  const asking = { ...opened, headers: { ...opened.headers, "oci-chunk-min-length": "1500" } };
  await using it = await setup([asking, patched(1500), patched(3000), ...stored], {
    upload: { patchBytes: 1000, patchChunks: 3, flushAfterMs: 1 },
  });
  const upload = await it.to.beginLayer(signal);
  const writer = Buffer.alloc(400);
  for (let at = 0; at < bytes.length; at += 400) {
    const length = bytes.copy(writer, 0, at, at + 400);
    // One buffer for all: a chunk that was given back is the caller's again.
    await upload.write(writer.subarray(0, length));
  }
  await upload.commit(digest, bytes.length);
  followed(it.fake);
  const patches = it.fake.requests.filter((one) => one.method === "PATCH");
  expect(patches.map(({ body }) => body.length)).toEqual([1500, 1500]);
  expect(Buffer.concat(patches.map(({ body }) => body))).toEqual(bytes);
});

test("abort lets the PATCH in flight end before it removes the session", async () => {
  const cancel = new AbortController();
  await using it = await setup([opened, { ...patched(1000), onRequest: () => cancel.abort() }, ...dropped]);
  const upload = await it.to.beginLayer(cancel.signal);
  await expect(upload.write(bytes.subarray(0, 1000))).rejects.toMatchObject({ code: "E_CANCELLED" });
  await upload.abort();
  followed(it.fake);
  expect(upload.acknowledgedBytes).toBe(1000);
});

test("a PATCH that stalls is cut when an upload is aborted, and the session is still removed", async () => {
  let onRequest = (): void => undefined;
  const underWay = new Promise<void>((resolve) => (onRequest = resolve));
  await using it = await setup([opened, { ...patched(1000), stall: true, onRequest }, ...dropped], {
    upload: { patchChunks: 1, abortGraceMs: 2000 },
  });
  const upload = await it.to.beginLayer(signal);
  const written = failure(upload.write(bytes.subarray(0, 1000)));
  await underWay;
  await upload.abort();
  expect(await written).toMatchObject({ code: "E_CANCELLED" });
  followed(it.fake);
});

test("a silent registry is found by the stall limit, not waited for in vain", async () => {
  await using it = await setup([opened, { ...patched(1000), stall: true }, holds("0-999"), patched(3000), ...stored], {
    stallTimeoutMs: 500,
    upload: { patchChunks: 1 },
  });
  await push(it);
  followed(it.fake);
  expect(it.clock.sleeps).toEqual([1000]);
});

test("a session that cannot be removed is named", async () => {
  const orphans: string[] = [];
  const refused = { method: "GET", path: session, status: 403, body: spec("DENIED") };
  await using it = await setup([opened, refused], { upload: { onOrphan: (path) => orphans.push(path) } });
  await (await it.to.beginLayer(signal)).abort();
  expect(orphans).toEqual([session]);
});
