import { createHash } from "node:crypto";
import { connect } from "node:net";
import { Readable } from "node:stream";
import { request, type Dispatcher } from "undici";
import * as tus from "tus-js-client";
import { afterEach, describe, expect, it } from "vitest";
import { DvcrError } from "../src/errors/dvcr-error.ts";
import { patternBytes } from "./support/disks.ts";
import { sampleReport, type FakeBehaviour } from "./support/fake-import.ts";
import { eventually } from "./support/pod.ts";
import { latch, startFakeUploader, type FakeUploader } from "./support/uploader.ts";

const mebibyte = 2 ** 20;
const content = patternBytes(6 * mebibyte + 5, 5);
const hash = (algorithm: string, bytes: Uint8Array = content): Buffer => createHash(algorithm).update(bytes).digest();

let uploader: FakeUploader;
afterEach(() => uploader.dispose());

async function begin(behaviour?: FakeBehaviour, environment?: Record<string, string>): Promise<void> {
  uploader = await startFakeUploader(behaviour, environment);
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

async function ask(
  method: Dispatcher.HttpMethod,
  query: string,
  headers: Record<string, string>,
  body?: Uint8Array,
): Promise<Answer> {
  const response = await request(`${uploader.url}${query}`, {
    method,
    headers: { "tus-resumable": "1.0.0", ...headers },
    ...(body === undefined ? {} : { body }),
  });
  return { status: response.statusCode, headers: response.headers, text: await response.body.text() };
}

/** Creates an upload and gives its query. */
async function create(headers: Record<string, string> = { "upload-length": String(content.length) }): Promise<string> {
  const { status, headers: answered } = await ask("POST", "", headers);
  expect(status).toBe(201);
  expect(answered["location"]).toMatch(/^\?tus=[0-9a-f-]{36}$/);
  return answered["location"] as string;
}

const patch = (
  query: string,
  offset: number,
  body: Uint8Array,
  headers: Record<string, string> = {},
): Promise<Answer> =>
  ask(
    "PATCH",
    query,
    { "content-type": "application/offset+octet-stream", "upload-offset": String(offset), ...headers },
    body,
  );

describe("tus-js-client", () => {
  /** Uploads the content, aborting after each of `aborts` bytes. */
  async function upload(aborts: readonly number[], options: Partial<tus.UploadOptions> = {}): Promise<void> {
    const points = [...aborts];
    await new Promise<void>((resolve, reject) => {
      const client = new tus.Upload(Buffer.from(content), {
        endpoint: uploader.url,
        retryDelays: [0, 100, 500],
        ...options,
        onError: reject,
        onSuccess: () => resolve(),
        onProgress: (sent) => {
          if (points.length === 0 || sent < points[0]!) return;
          points.shift();
          void client.abort().then(() => client.start());
        },
      });
      client.start();
    });
    expect(points).toEqual([]);
  }

  it("stores a file in one request", async () => {
    await begin();
    await upload([]);
    expect(uploader.seen).toMatchObject({ imports: 1, bytes: content.length, sha256: hash("sha256").toString("hex") });
    expect(await uploader.exit).toBe(0);
  });

  it("that is aborted again and again goes on where it was, in one import", async () => {
    await begin();
    await upload([mebibyte, 2 * mebibyte, 2 * mebibyte + 7, 5 * mebibyte], { chunkSize: 300_000 });
    expect(uploader.seen).toMatchObject({ imports: 1, bytes: content.length, sha256: hash("sha256").toString("hex") });
  });

  it("sends a length that it does not know at first", async () => {
    await begin();
    await upload([], { uploadLengthDeferred: true, chunkSize: mebibyte });
    expect(uploader.seen).toMatchObject({ imports: 1, sha256: hash("sha256").toString("hex") });
  });

  it("is told of a refusal by its last part", async () => {
    await begin({
      failAt: {
        bytes: content.length,
        error: new DvcrError("E_BACKING_FILE", "the image needs the backing file base.qcow2"),
      },
    });
    await expect(upload([])).rejects.toThrow(/422.*E_BACKING_FILE/s);
    expect(await uploader.exit).toBe(0);
  });
});

describe("an upload by tus", () => {
  /** Every byte is in and the client is gone; its import waits for the gate. Gives the upload's query. */
  async function cutAfterLast(behaviour: FakeBehaviour): Promise<string> {
    await begin(behaviour, { DVCR_UPLOAD_SIP_INTERVAL: "1" });
    const query = await create();
    const socket = connect(uploader.ports["upload"]!, "127.0.0.1");
    socket.on("error", () => undefined);
    const head = [
      `PATCH /upload${query} HTTP/1.1`,
      "Host: x",
      "Tus-Resumable: 1.0.0",
      "Upload-Offset: 0",
      "Content-Type: application/offset+octet-stream",
      `Content-Length: ${content.length}`,
    ];
    socket.write([...head, "", ""].join("\r\n"));
    socket.write(content);
    await eventually(
      async () => (await request(uploader.url, { method: "HEAD" })).headers["dvcr-upload-state"] === "importing",
    );
    socket.destroy();
    return query;
  }

  /** What HEAD answers once it answers anything but 423. */
  const verdictOn = (query: string): Promise<Answer> =>
    eventually(async () => {
      const answer = await ask("HEAD", query, {});
      return answer.status === 423 ? undefined : answer;
    });

  it(
    "that was cut after its last byte is 423 until it is stored: a complete offset means " + "success to clients",
    async () => {
      const gate = latch();
      const query = await cutAfterLast({ before: () => gate.opened });
      expect((await ask("HEAD", query, {})).status).toBe(423);
      gate.open();
      const { status, headers } = await verdictOn(query);
      expect([status, headers["upload-offset"], headers["docker-content-digest"]]).toEqual([
        200,
        String(content.length),
        sampleReport.manifestDigest,
      ]);
      expect(await uploader.exit).toBe(0);
    },
  );

  it("that was cut after its last byte tells a refusal to who asks", async () => {
    const gate = latch();
    const query = await cutAfterLast({
      before: () => gate.opened,
      failAt: { bytes: 1, error: new DvcrError("E_BACKING_FILE", "the image needs the backing file base.qcow2") },
    });
    expect((await ask("HEAD", query, {})).status).toBe(423);
    gate.open();
    expect((await verdictOn(query)).status).toBe(422);
    expect(await uploader.exit).toBe(0);
  });

  it("is offered by OPTIONS", async () => {
    await begin();
    const { statusCode, headers } = await request(uploader.url, { method: "OPTIONS" });
    expect(statusCode).toBe(204);
    expect(headers).toMatchObject({
      "tus-version": "1.0.0",
      "tus-extension": "creation,creation-defer-length,termination,checksum",
      "tus-checksum-algorithm": "md5,sha1,sha256",
    });
    expect(Number(headers["tus-max-size"])).toBeGreaterThan(2 ** 40);
  });

  it("of another version is answered 412", async () => {
    await begin();
    const { status, headers, text } = await ask("POST", "", { "tus-resumable": "0.2.2", "upload-length": "5" });
    expect([status, headers["tus-version"]]).toEqual([412, "1.0.0"]);
    expect(text).toMatch(/^E_TUS_VERSION: /);
  });

  it("tells its offset, and the result with the last part", async () => {
    await begin();
    const query = await create();
    expect((await ask("HEAD", query, {})).headers).toMatchObject({
      "upload-offset": "0",
      "upload-length": String(content.length),
      "cache-control": "no-store",
      "tus-resumable": "1.0.0",
    });
    const first = await patch(query, 0, content.subarray(0, mebibyte));
    expect([first.status, first.headers["upload-offset"]]).toEqual([204, String(mebibyte)]);
    expect((await ask("HEAD", query, {})).headers["upload-offset"]).toBe(String(mebibyte));
    const last = await patch(query, mebibyte, content.subarray(mebibyte));
    expect(last).toMatchObject({
      status: 204,
      headers: { "upload-offset": String(content.length), "docker-content-digest": sampleReport.manifestDigest },
    });
    expect(await uploader.exit).toBe(0);
  });

  it("is ended by DELETE, and then unknown", async () => {
    await begin();
    const query = await create();
    await patch(query, 0, content.subarray(0, mebibyte));
    expect((await ask("DELETE", query, {})).status).toBe(204);
    expect((await ask("HEAD", query, {})).status).toBe(404);
    expect((await patch(query, mebibyte, content.subarray(mebibyte))).status).toBe(404);
    const next = await create();
    expect((await patch(next, 0, content)).status).toBe(204);
    expect(uploader.seen).toMatchObject({ imports: 2, sha256: hash("sha256").toString("hex") });
  });

  it("that was only created does not keep others out", async () => {
    await begin();
    await create();
    const { statusCode, body } = await request(uploader.url, { method: "PUT", body: content });
    expect([statusCode, (await body.text()).slice(0, 7)]).toEqual([200, "stored "]);
    expect(uploader.seen.imports).toBe(1);
  });

  it("is refused with 503 while another runs", async () => {
    await begin();
    const query = await create();
    const running = request(uploader.url + query, {
      method: "PATCH",
      headers: {
        "tus-resumable": "1.0.0",
        "content-type": "application/offset+octet-stream",
        "upload-offset": "0",
        "content-length": String(content.length),
      },
      body: Readable.from(
        (async function* () {
          yield content.subarray(0, mebibyte);
          await eventually(() => uploader.seen.bytes === mebibyte);
          expect((await ask("POST", "", { "upload-length": "5" })).status).toBe(503);
          expect((await patch(query, mebibyte, content.subarray(mebibyte))).status).toBe(503);
          yield content.subarray(mebibyte);
        })(),
      ),
    });
    expect((await running).statusCode).toBe(204);
  });

  it.each<[string, Dispatcher.HttpMethod, (query: string) => string, Record<string, string>, number]>([
    ["creation without a length", "POST", () => "", {}, 400],
    ["creation with two kinds of length", "POST", () => "", { "upload-length": "5", "upload-defer-length": "1" }, 400],
    ["a length that is no number", "POST", () => "", { "upload-length": "-5" }, 400],
    ["an empty file", "POST", () => "", { "upload-length": "0" }, 422],
    ["a file that is too large", "POST", () => "", { "upload-length": "900000000000000" }, 413],
    ["a part of another type", "PATCH", (query) => query, { "upload-offset": "0", "content-type": "text/plain" }, 415],
    [
      "a part at another offset",
      "PATCH",
      (query) => query,
      { "upload-offset": "7", "content-type": "application/offset+octet-stream" },
      409,
    ],
    ["a part without an offset", "PATCH", (query) => query, { "content-type": "application/offset+octet-stream" }, 400],
    [
      "a part of an unknown upload",
      "PATCH",
      () => "?tus=1",
      { "upload-offset": "0", "content-type": "application/offset+octet-stream" },
      404,
    ],
    [
      "an unknown checksum algorithm",
      "PATCH",
      (query) => query,
      { "upload-offset": "0", "content-type": "application/offset+octet-stream", "upload-checksum": "crc32 AAAAAA==" },
      400,
    ],
    [
      "a malformed checksum",
      "PATCH",
      (query) => query,
      { "upload-offset": "0", "content-type": "application/offset+octet-stream", "upload-checksum": "sha1 AAAA" },
      400,
    ],
  ])("refuses %s, and goes on after that", async (_, method, target, headers, status) => {
    await begin();
    const query = await create();
    expect((await ask(method, target(query), headers, method === "PATCH" ? Buffer.from("x") : undefined)).status).toBe(
      status,
    );
    expect((await patch(query, 0, content)).status).toBe(204);
    expect(uploader.seen).toMatchObject({ imports: 1, sha256: hash("sha256").toString("hex") });
  });

  it("refuses bytes beyond its length", async () => {
    await begin();
    const query = await create({ "upload-length": "10" });
    expect((await patch(query, 0, Buffer.alloc(11))).status).toBe(400);
    expect((await ask("HEAD", query, {})).headers["upload-offset"]).toBe("0");
  });
});

describe("a part with Upload-Checksum", () => {
  const checksum = (algorithm: string, bytes: Uint8Array): Record<string, string> => ({
    "upload-checksum": `${algorithm} ${hash(algorithm, bytes).toString("base64")}`,
  });

  it.each(["md5", "sha1", "sha256"])(
    "of %s is dropped with 460 when it is wrong, and taken when it is right",
    async (algorithm) => {
      await begin();
      const query = await create();
      const wrong = await patch(query, 0, content, checksum(algorithm, Buffer.from("other")));
      expect([wrong.status, wrong.headers["upload-offset"]]).toEqual([460, "0"]);
      expect(wrong.text).toMatch(new RegExp(`^E_TUS_CHECKSUM: ${algorithm} sum mismatch: `));
      expect(uploader.seen.bytes).toBe(0);
      expect((await patch(query, 0, content, checksum(algorithm, content))).status).toBe(204);
      expect(uploader.seen.sha256).toBe(hash("sha256").toString("hex"));
    },
  );

  it("larger than 16 MiB is answered 413, also when its length is not said", async () => {
    await begin();
    const large = Buffer.alloc(16 * mebibyte + 1, 7);
    const query = await create({ "upload-length": String(large.length) });
    expect((await patch(query, 0, large, checksum("sha1", large))).status).toBe(413);
    const chunked = await request(uploader.url + query, {
      method: "PATCH",
      headers: {
        "tus-resumable": "1.0.0",
        "content-type": "application/offset+octet-stream",
        "upload-offset": "0",
        ...checksum("sha1", large),
      },
      body: Readable.from(
        (function* () {
          for (let at = 0; at < large.length; at += mebibyte) yield large.subarray(at, at + mebibyte);
        })(),
      ),
    });
    expect(chunked.statusCode).toBe(413);
    await chunked.body.dump();
    expect((await patch(query, 0, large)).status).toBe(204);
  });
});
