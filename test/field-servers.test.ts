/**
 * Web servers that behave as people report of real ones, each of which curl passes; here both read from the same one.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";

import { httpSource } from "../src/source/http/http-source.ts";
import { defaultRetryPolicy } from "../src/retry/retry.ts";
import { patternBytes } from "./support/disks.ts";
import { Origin, type Answer, type SeenGet } from "./support/origin.ts";
import { tool } from "./support/tools.ts";

const file = patternBytes((1 << 20) + 123, 8);
const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

interface Read {
  readonly digest: string;
  readonly tail: Uint8Array | undefined;
  readonly notices: readonly string[];
}

/** The file as the importer reads it, with a look at its end first where the server offers that. */
async function read(url: string, limits = {}): Promise<Read> {
  const notices: string[] = [];
  const source = httpSource(url, {
    tls: { verify: true },
    proxies: {},
    headers: {},
    limits,
    policy: { ...defaultRetryPolicy, firstDelayMs: 1, maxDelayMs: 1, deadlineMs: 500 },
    onNotice: (text) => notices.push(text),
  });
  const opened = await source.open(new AbortController().signal);
  try {
    const tail = await opened.readRange?.(file.length - 512, 512);
    const hash = createHash("sha256");
    for await (const chunk of opened.chunks ?? []) hash.update(chunk);
    return { digest: hash.digest("hex"), tail, notices };
  } finally {
    await opened.close();
  }
}

async function curlDigest(url: string): Promise<string> {
  return (await tool("sh", "-c", `curl -sSfL --max-time 20 "$1" | sha256sum`, "sh", url)).slice(0, 64);
}

const isExtra = ({ headers }: SeenGet): boolean => headers.range !== undefined;
const refuseExtra =
  (status: number) =>
  (request: SeenGet): Answer =>
    isExtra(request) ? { status } : {};

describe("an extra request that fails leaves the first connection alone", () => {
  test.each<[string, (request: SeenGet, index: number) => Answer]>([
    ["another ETag on each request", (_, index) => ({ headers: { etag: `"node-${String(index)}"` } })],
    [
      "ranges of another file",
      (request) => (isExtra(request) ? { content: patternBytes(file.length, 9), headers: { etag: '"two"' } } : {}),
    ],
    ["a link good for one request, 404", refuseExtra(404)],
    ["the same, 403", refuseExtra(403)],
    ["the same, 410", refuseExtra(410)],
    ["a limit of one connection, 503", refuseExtra(503)],
    ["a limit of requests, 429", refuseExtra(429)],
    ["ranges announced and refused, 416", refuseExtra(416)],
    ["ranges announced and ignored", (request) => (isExtra(request) ? { ignoreRange: true } : {})],
  ])("%s", async (_, script) => {
    await using origin = await Origin.start(file, script);
    const { digest, tail, notices } = await read(`${origin.url}/disk`);
    expect([digest, tail]).toEqual([digestOf(file), undefined]);
    expect(notices).toEqual([expect.stringContaining("no ranges while the file is read")]);
    expect(origin.seen).toHaveLength(2);
    expect(await curlDigest(`${origin.url}/disk`)).toBe(digest);
  });

  test("an ordinary server answers it", async () => {
    await using origin = await Origin.start(file);
    const { tail, notices } = await read(`${origin.url}/disk`);
    expect(Buffer.compare(tail!, file.subarray(-512))).toBe(0);
    expect(notices).toEqual([]);
  });

  test("short answers are put together, and none counts as a failure", async () => {
    await using origin = await Origin.start(file, ({ headers }) => {
      const [, first] = /^bytes=(\d+)-/.exec(headers.range ?? "") ?? [];
      if (first === undefined) return {};
      const last = Number(first) + 99;
      return {
        headers: {
          "content-range": `bytes ${first}-${String(Math.min(last, file.length - 1))}/${String(file.length)}`,
        },
        content: file.subarray(0, last + 1),
      };
    });
    const { tail, notices } = await read(`${origin.url}/disk`);
    expect(Buffer.compare(tail!, file.subarray(-512))).toBe(0);
    expect(notices).toEqual([]);
    expect(origin.seen.filter(isExtra)).toHaveLength(6);
  });
});

test.each([400, 403, 416, 501])("a firewall that answers %i to every range from 0 on sees none", async (status) => {
  await using origin = await Origin.start(file, ({ headers }) =>
    headers.range?.startsWith("bytes=0-") === true ? { status } : {},
  );
  expect((await read(`${origin.url}/disk`)).digest).toBe(await curlDigest(`${origin.url}/disk`));
});

test("after a cut a server that refuses every range sends the file again, of which the rest is taken", async () => {
  await using origin = await Origin.start(file, (request, index) =>
    isExtra(request) ? { status: 416 } : index === 0 ? { cutAfter: 300_000 } : {},
  );
  expect((await read(`${origin.url}/disk`)).digest).toBe(digestOf(file));
});

describe("content codings", () => {
  const packed = gzipSync(file);
  test.each([
    ["gzip", packed, 0],
    ["x-gzip", packed, 0],
    ["identity", file, 0],
    ["gzip", file, 0],
    ["none", file, 1],
    ["binary", file, 1],
    ["utf-8", file, 1],
    ["aws-chunked", file, 1],
  ])("%s: the bytes are those of curl -o", async (coding, content, warnings) => {
    await using origin = await Origin.start(file, () => ({ content, headers: { "content-encoding": coding } }));
    const { digest, notices } = await read(`${origin.url}/disk`);
    expect(digest).toBe(digestOf(content));
    expect(digest).toBe(await curlDigest(`${origin.url}/disk`));
    expect(notices.filter((text) => text.includes("content encoding"))).toHaveLength(warnings);
  });

  test.each(["br", "deflate", "compress"])("%s cannot be undone and is refused", async (coding) => {
    await using origin = await Origin.start(file, () => ({ headers: { "content-encoding": coding } }));
    await expect(read(`${origin.url}/disk`)).rejects.toMatchObject({ code: "E_SOURCE_HTTP" });
  });
});

/** A server of raw bytes: `answer` is what the n-th request gets, nothing at all where it is undefined. */
async function rawServer(answer: (head: string) => Buffer | undefined): Promise<{ url: string } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (data) => {
      const bytes = answer(data.toString("latin1"));
      if (bytes !== undefined) socket.end(bytes);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, "close");
  };
  return { url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`, [Symbol.asyncDispose]: stop };
}

const whole = Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${String(file.length)}\r\n\r\n`), file]);

test.each(["100 Continue", "102 Processing", "103 Early Hints"])(
  "%s that nobody asked for is ignored",
  async (line) => {
    await using server = await rawServer(() => Buffer.concat([Buffer.from(`HTTP/1.1 ${line}\r\n\r\n`), whole]));
    expect((await read(`${server.url}/disk`)).digest).toBe(await curlDigest(`${server.url}/disk`));
  },
);

test.each([
  ["/files/образ диска.img", "/files/%D0%BE%D0%B1%D1%80%D0%B0%D0%B7%20%D0%B4%D0%B8%D1%81%D0%BA%D0%B0.img"],
  ["/files/%D0%BE.img?name=a b", "/files/%D0%BE.img?name=a+b"],
])("a redirect to %s asks for what curl asks for", async (location, wanted) => {
  const asked: string[] = [];
  await using server = await rawServer((head) => {
    const path = head.split(" ")[1]!;
    asked.push(path);
    if (path !== "/disk") return whole;
    return Buffer.from(`HTTP/1.1 302 Found\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`);
  });
  expect((await read(`${server.url}/disk`)).digest).toBe(digestOf(file));
  expect(await curlDigest(`${server.url}/disk`)).toBe(digestOf(file));
  const lower = (paths: readonly string[]) => paths.map((path) => path.toLowerCase());
  expect(lower(asked)).toEqual(lower(["/disk", wanted, "/disk", wanted]));
});

test(
  "who takes a request and never answers is given up after the limit to the first byte, and " + "asked once",
  async () => {
    let asked = 0;
    await using server = await rawServer(() => {
      asked += 1;
      return undefined;
    });
    await expect(read(`${server.url}/disk`, { firstByteMs: 1000 })).rejects.toMatchObject({
      code: "E_SOURCE_IO",
      message: expect.stringContaining("answered nothing for 1 seconds") as string,
    });
    expect(asked).toBe(1);
  },
);
