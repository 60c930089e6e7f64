import { expect, test } from "vitest";

import { systemClock } from "../src/retry/clock.ts";
import { defaultRetryPolicy } from "../src/retry/retry.ts";
import { httpSource, type HttpSourceOptions } from "../src/source/http/http-source.ts";
import type { OpenSource } from "../src/source/source.ts";
import { FakeClock } from "./support/fake-registry.ts";
import { Origin, type Answer, type SeenGet } from "./support/origin.ts";
import { patternBytes } from "./support/disks.ts";

const MIB = 1 << 20;
const file = patternBytes(8 * MIB + 123, 3);
const { signal } = new AbortController();

interface Read {
  readonly bytes: Buffer;
  readonly clock: FakeClock;
  readonly notices: string[];
}

const defaults = { tls: { verify: true }, proxies: {}, headers: {} };

async function opened<T>(
  url: string,
  options: Partial<HttpSourceOptions>,
  use: (source: OpenSource, clock: FakeClock) => Promise<T>,
): Promise<T> {
  const clock = new FakeClock();
  const source = await httpSource(url, { ...defaults, clock, ...options }).open(signal);
  try {
    return await use(source, clock);
  } finally {
    await source.close();
  }
}

async function read(url: string, options: Partial<HttpSourceOptions> = {}): Promise<Read> {
  const notices: string[] = [];
  return await opened(url, { onNotice: (text) => notices.push(text), ...options }, async (source, clock) => {
    const parts: Uint8Array[] = [];
    for await (const chunk of source.chunks ?? []) parts.push(chunk);
    return { bytes: Buffer.concat(parts), clock, notices };
  });
}

const same = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;
const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => "no error",
    (error: unknown) => error,
  );

/** The same numbers in every run. */
function seeded(seed: number): () => number {
  const noise = patternBytes(4096, seed);
  let at = 0;
  return () => noise.readUInt32LE((at += 4) % 4092) / 2 ** 32;
}

test.each([1, 2, 3, 4, 5])(
  "a server that cuts every megabyte or two at random (seed %i) gives the file, and nothing " +
    "twice but what was in flight",
  async (seed) => {
    const random = seeded(seed);
    let cuts = 0;
    await using origin = await Origin.start(file, () => {
      cuts += 1;
      return { cutAfter: Math.floor(random() * 2 * MIB) };
    });
    const { bytes } = await read(`${origin.url}/disk`);
    expect(same(bytes, file)).toBe(true);
    // In flight: what fits into the buffers between the two sockets.
    expect(origin.served).toBeLessThan(file.length + cuts * MIB);
    expect(origin.seen.slice(1).every(({ headers }) => headers["if-range"] === '"one"')).toBe(true);
  },
);

test("a connection that stalls is given up and continued", async () => {
  await using origin = await Origin.start(file, (_, index) => (index === 0 ? { stallAfter: 3 * MIB } : {}));
  const { bytes } = await read(`${origin.url}/disk`, { limits: { stallMs: 300 } });
  expect(same(bytes, file)).toBe(true);
  expect(origin.seen).toHaveLength(2);
});

test("a file that changes midway is refused, never mixed", async () => {
  const other = patternBytes(file.length, 4);
  await using origin = await Origin.start(file, (_, index) =>
    index === 0 ? { cutAfter: MIB } : { content: other, headers: { etag: '"two"' } },
  );
  expect(await failure(read(`${origin.url}/disk`))).toMatchObject({ code: "E_SOURCE_CHANGED" });
});

test("a file that changes while the server ignores If-Range is refused too", async () => {
  const other = patternBytes(file.length, 4);
  await using origin = await Origin.start(file, ({ headers }, index) => {
    if (index === 0) return { cutAfter: MIB };
    delete headers["if-range"];
    return { content: other, headers: { etag: '"two"' } };
  });
  expect(await failure(read(`${origin.url}/disk`))).toMatchObject({ code: "E_SOURCE_CHANGED" });
});

test("a server without ranges but with a validator sends the file again, of which only the rest is taken", async () => {
  await using origin = await Origin.start(file, (_, index) => ({
    ignoreRange: true,
    ...(index === 0 ? { cutAfter: 2 * MIB } : {}),
  }));
  const { bytes } = await read(`${origin.url}/disk`);
  expect(same(bytes, file)).toBe(true);
});

test.each<[string, Answer]>([
  ["no validators", { headers: { etag: "" } }],
  ["only a weak ETag", { headers: { etag: 'W/"one"' } }],
  [
    "a Last-Modified of this very second",
    { headers: { etag: "", "last-modified": new Date().toUTCString(), date: new Date().toUTCString() } },
  ],
])("with %s a cut download is not continued", async (_, answer) => {
  await using origin = await Origin.start(file, (__, index) => ({
    ...answer,
    ...(index === 0 ? { cutAfter: MIB } : {}),
  }));
  expect(await failure(read(`${origin.url}/disk`))).toMatchObject({
    code: "E_SOURCE_IO",
    message: expect.stringContaining("cannot be continued") as string,
  });
});

test("an old Last-Modified is a validator, also when the answer to the range leaves it out", async () => {
  const lastModified = "Mon, 06 Jan 2020 10:00:00 GMT";
  await using origin = await Origin.start(file, (request, index) => {
    if (index === 0) return { cutAfter: MIB, headers: { etag: "", "last-modified": lastModified } };
    expect(request.headers["if-range"]).toBe(lastModified);
    delete request.headers["if-range"];
    return { headers: { etag: "" } };
  });
  expect(same((await read(`${origin.url}/disk`)).bytes, file)).toBe(true);
});

test("a server that announces more than it has is refused with a clear error", async () => {
  await using origin = await Origin.start(file, ({ headers }, index) => {
    const total = String(file.length + 1000);
    if (index === 0)
      return {
        headers: { "content-range": `bytes 0-${String(file.length + 999)}/${total}`, "content-length": total },
        cutAfter: file.length - 1,
      };
    return headers.range === `bytes=${String(file.length - 1)}-`
      ? { headers: { "content-range": `bytes ${String(file.length - 1)}-${String(file.length - 1)}/${total}` } }
      : {};
  });
  expect(await failure(read(`${origin.url}/disk`))).toMatchObject({ code: "E_SOURCE_CHANGED" });
});

test("a server that sends more than it announced is refused", async () => {
  const announced = `bytes ${String(MIB)}-${String(file.length - 1)}/${String(file.length)}`;
  await using origin = await Origin.start(file, (_, index) =>
    index === 0
      ? { cutAfter: MIB }
      : { content: Buffer.concat([file, file]), headers: { "content-range": announced }, chunked: true },
  );
  expect(await failure(read(`${origin.url}/disk`))).toMatchObject({
    code: "E_SOURCE_HTTP",
    message: expect.stringContaining("more than") as string,
  });
});

test("an answer with a range that nobody asked for is refused", async () => {
  await using origin = await Origin.start(file, () => ({
    status: 206,
    headers: { "content-range": `bytes 5-99/${String(file.length)}` },
  }));
  expect(await failure(read(`${origin.url}/disk`))).toMatchObject({ code: "E_SOURCE_HTTP" });
});

test("a server that gives a megabyte of a range at a time is asked for the next at once", async () => {
  await using origin = await Origin.start(file, (request) => {
    const first = Number(/\d+/.exec(request.headers.range ?? "")?.[0]);
    request.headers.range = `bytes=${String(first)}-${String(first + MIB - 1)}`;
    return {};
  });
  const { bytes, clock } = await read(`${origin.url}/disk`);
  expect(same(bytes, file)).toBe(true);
  expect(clock.sleeps).toEqual([]);
});

test("a chunked answer of unknown length is read to its end, by a plain GET only", async () => {
  await using origin = await Origin.start(file, () => ({ ignoreRange: true, chunked: true, headers: { etag: "" } }));
  const size = await opened(`${origin.url}/disk?X-Signature=s3cret`, {}, (source) => Promise.resolve(source.size));
  expect(size).toBeUndefined();
  expect(same((await read(`${origin.url}/disk?X-Signature=s3cret`)).bytes, file)).toBe(true);
  expect(origin.seen.every(({ method }) => method === "GET")).toBe(true);
});

test("a presigned redirect that has expired is asked for again", async () => {
  await using store = await Origin.start(file, ({ url }, index) => {
    if (url === "/old" && index > 0) return { status: 403 };
    return index === 0 ? { cutAfter: 2 * MIB } : {};
  });
  let redirects = 0;
  await using origin = await Origin.start(file, () => ({
    status: 302,
    headers: { location: `${store.url}/${redirects++ === 0 ? "old" : "new"}` },
  }));
  expect(same((await read(`${origin.url}/disk`)).bytes, file)).toBe(true);
  expect(store.seen.map(({ url }) => url)).toEqual(["/old", "/old", "/new"]);
});

test("503 is waited out as Retry-After says", async () => {
  await using origin = await Origin.start(file, (_, index) =>
    index === 0 ? { status: 503, headers: { "retry-after": "42" } } : {},
  );
  const { bytes, clock } = await read(`${origin.url}/disk`);
  expect(same(bytes, file)).toBe(true);
  expect(clock.sleeps).toEqual([42_000]);
});

test.each([
  [404, "E_SOURCE_NOT_FOUND"],
  [403, "E_SOURCE_DENIED"],
  [400, "E_SOURCE_HTTP"],
])("status %i is told at once", async (status, code) => {
  await using origin = await Origin.start(file, () => ({ status }));
  expect(await failure(read(`${origin.url}/disk?token=s3cret`))).toMatchObject({
    code,
    message: expect.not.stringContaining("s3cret") as string,
  });
  expect(origin.seen).toHaveLength(1);
});

test("ten redirects are followed, an eleventh is not", async () => {
  const hop = (left: number) => ({ status: 302, headers: { location: `/${String(left)}` } });
  const script = ({ url }: SeenGet): Answer => (url === "/0" ? {} : hop(Number(url.slice(1)) - 1));
  await using origin = await Origin.start(file, script);
  expect(same((await read(`${origin.url}/10`)).bytes, file)).toBe(true);
  expect(await failure(read(`${origin.url}/11`))).toMatchObject({
    code: "E_SOURCE_HTTP",
    message: expect.stringContaining("10 times") as string,
  });
});

test("credentials and extra headers reach the source's own origin only", async () => {
  await using store = await Origin.start(file);
  await using origin = await Origin.start(file, () => ({ status: 307, headers: { location: `${store.url}/disk` } }));
  const url = origin.url.replace("//", "//me:p%40ss@");
  await read(`${url}/disk`, { headers: { "x-token": "s3cret" } });
  expect(origin.seen[0]?.headers).toMatchObject({
    authorization: `Basic ${Buffer.from("me:p@ss").toString("base64")}`,
    "x-token": "s3cret",
    "accept-encoding": "identity",
  });
  expect(store.seen[0]?.url).toBe("/disk");
  for (const { headers } of store.seen) {
    expect(headers.authorization).toBeUndefined();
    expect(headers["x-token"]).toBeUndefined();
  }
});

test("a wrong content type is only noted", async () => {
  await using html = await Origin.start(file, () => ({ headers: { "content-type": "text/html; charset=utf-8" } }));
  const { bytes, notices } = await read(`${html.url}/disk`);
  expect(same(bytes, file)).toBe(true);
  expect(notices).toEqual([expect.stringContaining("text/html")]);
});

test("a server that stays away is given up after 17 minutes, one that never was there after 15 seconds", async () => {
  const clock = new FakeClock();
  await using origin = await Origin.start(file, (_, index) => (index === 0 ? { cutAfter: MIB } : { status: 503 }));
  expect(await failure(read(`${origin.url}/disk`, { clock }))).toMatchObject({ code: "E_SOURCE_IO" });
  expect(clock.now()).toBe(17 * 60_000);
  const nobody = new FakeClock();
  expect(await failure(read("http://127.0.0.1:9/disk", { clock: nobody }))).toMatchObject({ code: "E_SOURCE_IO" });
  expect(nobody.now()).toBe(15_000);
});

test("metadata is read by ranges beside the stream, and goes on after a cut", async () => {
  await using origin = await Origin.start(file, (_, index) => (index === 1 ? { cutAfter: 1000 } : {}));
  await opened(`${origin.url}/disk`, {}, async (source) => {
    const tail = await source.readRange?.(file.length - 5000, 5000);
    expect(same(tail ?? Buffer.alloc(0), file.subarray(-5000))).toBe(true);
  });
  expect(origin.seen.slice(1).map(({ headers }) => headers.range)).toEqual([
    `bytes=${String(file.length - 5000)}-${String(file.length - 1)}`,
    `bytes=${String(file.length - 4000)}-${String(file.length - 1)}`,
  ]);
});

const parallel = { connections: 4, pieceBytes: MIB / 2, watchMs: 50, slowBelow: 1 << 30 };

test(
  "where one connection is the limit, four ranges are fetched at once, in order and within " + "their window",
  async () => {
    await using origin = await Origin.start(file, () => ({ trickle: true }));
    const { bytes, notices } = await read(`${origin.url}/disk`, { clock: systemClock, parallel });
    expect(same(bytes, file)).toBe(true);
    expect(notices).toEqual([expect.stringContaining("4 ranges are fetched at once")]);
    expect(origin.mostActive).toBeGreaterThan(2);
    // Those that give way to pieces are still being closed when these begin.
    expect(origin.mostActive).toBeLessThanOrEqual(8);
  },
);

test("ranges that are cut go on where they stopped", async () => {
  const random = seeded(9);
  await using origin = await Origin.start(file, (_, index) =>
    index % 3 === 1 ? { cutAfter: Math.floor(random() * 1000) } : { trickle: true },
  );
  const { bytes, notices } = await read(`${origin.url}/disk`, {
    policy: { ...defaultRetryPolicy, firstDelayMs: 1 },
    clock: systemClock,
    parallel,
  });
  expect(same(bytes, file)).toBe(true);
  expect(notices).toEqual([expect.stringContaining("4 ranges")]);
});

test("a server that allows one connection at a time gets one", async () => {
  const busy = { status: 429 };
  const active = (): number => origin.active;
  await using origin: Origin = await Origin.start(file, () => (active() > 0 ? busy : { trickle: true }));
  const { bytes, notices } = await read(`${origin.url}/disk`, {
    policy: { ...defaultRetryPolicy, firstDelayMs: 1 },
    clock: systemClock,
    parallel,
  });
  expect(same(bytes, file)).toBe(true);
  expect(notices).toEqual([expect.stringContaining("no ranges while the file is read")]);
  expect(origin.seen.filter(({ headers }) => headers.range === undefined)).toHaveLength(1);
});
