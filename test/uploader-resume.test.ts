import { createHash } from "node:crypto";
import { connect, type Socket } from "node:net";
import { request } from "undici";
import { afterEach, describe, expect, it } from "vitest";
import { DvcrError } from "../src/errors/dvcr-error.ts";
import { patternBytes } from "./support/disks.ts";
import { sampleReport, type FakeBehaviour } from "./support/fake-import.ts";
import { curl, eventually, rawRequest } from "./support/pod.ts";
import { latch, startFakeUploaderWith, type FakeUploader } from "./support/uploader.ts";

const mebibyte = 2 ** 20;
const content = patternBytes(8 * mebibyte + 17, 3);
const half = 4 * mebibyte;
const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();
const digestHeader = (bytes: Uint8Array): string => `sha-256=:${sha256(bytes).toString("base64")}:`;

let uploader: FakeUploader;
afterEach(() => uploader.dispose());

async function begin(behaviour?: FakeBehaviour, environment?: Record<string, string>): Promise<string> {
  const started = await startFakeUploaderWith(content, behaviour, environment);
  uploader = started.uploader;
  return started.file;
}

const head = async (): Promise<Record<string, unknown>> => (await request(uploader.url, { method: "HEAD" })).headers;

/** Sends a PUT's head and `bytes` of its body, and leaves the connection open. */
async function putPart(bytes: Uint8Array, ...headers: string[]): Promise<Socket> {
  const socket = connect(uploader.ports["upload"]!, "127.0.0.1");
  socket.on("error", () => undefined).resume();
  socket.write(
    [`PUT /upload HTTP/1.1`, "Host: x", `Content-Length: ${content.length}`, ...headers, "", ""].join("\r\n"),
  );
  socket.write(bytes);
  await eventually(() => uploader.seen.bytes >= bytes.length);
  return socket;
}

/** An upload that was cut after half of its bytes. */
async function interrupted(...headers: string[]): Promise<void> {
  (await putPart(content.subarray(0, half), ...headers)).destroy();
  await eventually(async () => (await head())["dvcr-upload-state"] === "interrupted");
}

const put = (file: string, ...args: string[]) => curl("-w", "%{http_code}", ...args, "-T", file, uploader.url).done;

describe("an upload that was cut", () => {
  it("is continued by curl -C from the offset that HEAD gives, with nothing sent twice", async () => {
    const file = await begin();
    await interrupted();
    expect(await head()).toMatchObject({
      "upload-offset": String(half),
      "upload-complete": "?0",
      "upload-length": String(content.length),
    });
    expect((await put(file, "-C", String(half))).stdout).toMatch(/^stored .*\n200$/);
    expect(uploader.seen).toMatchObject({ imports: 1, bytes: content.length, sha256: sha256(content).toString("hex") });
    expect(await uploader.exit).toBe(0);
  });

  it("starts over when the whole file is sent again", async () => {
    const file = await begin();
    await interrupted();
    expect((await put(file)).stdout).toMatch(/^stored .*\n200$/);
    expect(uploader.seen).toMatchObject({ imports: 2, bytes: content.length, sha256: sha256(content).toString("hex") });
  });

  it("takes single parts, each answered with 202 and the offset until the last", async () => {
    await begin();
    await interrupted();
    const piece = content.subarray(half, half + mebibyte);
    const answer = await request(uploader.url, {
      method: "PUT",
      headers: { "content-range": `bytes ${half}-${half + mebibyte - 1}/${content.length}` },
      body: piece,
    });
    expect([answer.statusCode, answer.headers["upload-offset"], answer.headers["upload-complete"]]).toEqual([
      202,
      String(half + mebibyte),
      "?0",
    ]);
    await answer.body.dump();
    const last = content.subarray(half + mebibyte);
    const done = await request(uploader.url, {
      method: "PUT",
      headers: { "content-range": `bytes ${half + mebibyte}-${content.length - 1}/${content.length}` },
      body: last,
    });
    expect(await done.body.text()).toMatch(/^stored /);
    expect(uploader.seen.sha256).toBe(sha256(content).toString("hex"));
  });

  it.each([
    ["another offset", [`Content-Range: bytes 5-99/${content.length}`], 409, /stands at offset 4194304, not at 5/],
    [
      "another total",
      [`Content-Range: bytes ${half}-${content.length}/${content.length + 1}`],
      409,
      /it was 8388625 before/,
    ],
    ["curl's range of a pipe", ["Content-Range: bytes 500-498/499"], 400, /names no bytes of the file/],
    ["an unknown total", ["Content-Range: bytes 5-99/*"], 400, /is malformed/],
    [
      "a length unlike the range's",
      [`Content-Range: bytes ${half}-${half + 9}/${content.length}`, "Content-Length: 7"],
      400,
      /names 10 bytes, but Content-Length is 7/,
    ],
    [
      "a digest of the file that came too late",
      [`Content-Range: bytes ${half}-${content.length - 1}/${content.length}`, `Repr-Digest: ${digestHeader(content)}`],
      400,
      /declared no sha256 of the whole file/,
    ],
  ])("refuses to go on with %s, and can be continued after that", async (_, headers, status, text) => {
    const file = await begin();
    await interrupted();
    const answer = await rawRequest(
      uploader.ports["upload"]!,
      ["PUT /upload HTTP/1.1", "Host: x", "Expect: 100-continue", "Connection: close", ...headers, "", ""].join("\r\n"),
    );
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toMatch(/\r\nupload-offset: 4194304\r\n/);
    expect(answer).toMatch(text);
    expect((await put(file, "-C", String(half))).stdout).toMatch(/^stored /);
    expect(uploader.seen.imports).toBe(1);
  });

  it("is given up after its time, and what would continue it is told to start at 0", async () => {
    const file = await begin({}, { DVCR_UPLOAD_RESUME_TIMEOUT: "1" });
    await interrupted();
    await eventually(async () => (await head())["dvcr-upload-state"] === "idle");
    const late = await put(file, "-i", "-C", String(half));
    expect(late.stdout).toMatch(
      /\r\nupload-offset: 0\r\n[^]*E_UPLOAD_OFFSET: the upload stands at offset 0, not at 4194304\. /,
    );
    expect(uploader.message()).toBeUndefined();
    expect((await put(file)).stdout).toMatch(/^stored /);
  });

  it("by SIGTERM is cancelled, and the process ends", async () => {
    await begin();
    await interrupted();
    uploader.signal("SIGTERM");
    expect(await uploader.exit).toBe(143);
  });
});

describe("an upload whose client tells which file it sends", () => {
  const named = (identity: string): string => `DVCR-File-Identity: ${identity}`;
  const known = async (): Promise<unknown> => (await head())["dvcr-file-identity"];
  const piece = content.subarray(half, half + 100);
  const range = `bytes ${half}-${half + 99}/${content.length}`;

  it("tells it back as long as every request has said the same", async () => {
    await begin();
    await interrupted(named("one"));
    expect(await known()).toBe("one");
    const answer = await request(uploader.url, {
      method: "PUT",
      headers: { "content-range": range, "dvcr-file-identity": "one" },
      body: piece,
    });
    expect([answer.statusCode, await known()]).toEqual([202, "one"]);
    const next = `bytes ${half + 100}-${half + 199}/${content.length}`;
    expect(
      (await request(uploader.url, { method: "PUT", headers: { "content-range": next }, body: piece })).statusCode,
    ).toBe(202);
    expect(await known()).toBeUndefined();
  });

  it(
    "is not gone on with as another file, nor as one where none was told; it can be started " + "over as such",
    async () => {
      const file = await begin();
      for (const before of [[named("one")], []]) {
        await interrupted(...before);
        const answer = await request(uploader.url, {
          method: "PUT",
          headers: { "content-range": range, "dvcr-file-identity": "two" },
          body: piece,
        });
        expect([answer.statusCode, answer.headers["upload-offset"]]).toEqual([409, String(half)]);
        expect(await answer.body.text()).toMatch(/^E_UPLOAD_OFFSET: .* Send the whole file, without Content-Range\.$/m);
      }
      expect((await put(file, "-H", named("two"))).stdout).toMatch(/^stored /);
      expect(uploader.seen).toMatchObject({ bytes: content.length, sha256: sha256(content).toString("hex") });
    },
  );

  it("is refused where its word for it is no word", async () => {
    const file = await begin();
    expect((await put(file, "-H", named("a b"))).stdout).toMatch(
      /^E_BAD_REQUEST: the header dvcr-file-identity is malformed/,
    );
  });
});

describe("digests of a continued upload", () => {
  it("Repr-Digest of the first request holds for the whole", async () => {
    const file = await begin();
    await interrupted(`Repr-Digest: ${digestHeader(content)}`);
    expect((await put(file, "-C", String(half), "-H", `Repr-Digest: ${digestHeader(content)}`)).stdout).toMatch(
      /^stored /,
    );
    expect(uploader.seen.options?.checksums).toEqual([
      { algorithm: "sha256", expected: sha256(content).toString("hex") },
    ]);
  });

  it("Repr-Digest that is wrong ends the upload for good", async () => {
    const file = await begin();
    await interrupted(`Repr-Digest: ${digestHeader(Buffer.from("other"))}`);
    expect((await put(file, "-C", String(half))).stdout).toMatch(
      /^E_CHECKSUM_MISMATCH: sha256 sum mismatch: [^]*\n422$/,
    );
    expect(await uploader.exit).toBe(0);
  });

  it("Content-Digest of a continuing request covers its own bytes", async () => {
    const file = await begin();
    await interrupted();
    expect(
      (await put(file, "-C", String(half), "-H", `Content-Digest: ${digestHeader(content.subarray(half))}`)).stdout,
    ).toMatch(/^stored /);
  });

  it("Content-Digest of a continuing request that is wrong ends the upload for good", async () => {
    const file = await begin();
    await interrupted();
    expect((await put(file, "-C", String(half), "-H", `Content-Digest: ${digestHeader(content)}`)).stdout).toMatch(
      /^E_CHECKSUM_MISMATCH: [^]*\n422$/,
    );
    expect(await uploader.exit).toBe(0);
    expect(uploader.message()?.["error-message"]).toContain("sha256 sum mismatch");
  });
});

describe("a connection that says nothing", () => {
  it("is ended by HEAD, and the upload goes on elsewhere", async () => {
    const file = await begin({}, { DVCR_UPLOAD_SILENCE: "1" });
    const silent = await putPart(content.subarray(0, half));
    expect((await put(file, "-C", String(half))).stdout).toMatch(/^E_BUSY: [^]*503$/);
    expect(await head()).toMatchObject({ "dvcr-upload-state": "interrupted", "upload-offset": String(half) });
    expect((await put(file, "-C", String(half))).stdout).toMatch(/^stored /);
    expect(uploader.seen.imports).toBe(1);
    silent.destroy();
  });

  it("is left alone by HEAD while it sends", async () => {
    await begin({}, { DVCR_UPLOAD_SILENCE: "1" });
    const lively = await putPart(content.subarray(0, half));
    const timer = setInterval(() => lively.write(Buffer.alloc(16)), 100);
    expect(await head()).toMatchObject({ "dvcr-upload-state": "receiving" });
    clearInterval(timer);
    lively.destroy();
  });

  it("or next to nothing is answered 408 with the offset, and the upload goes on elsewhere", async () => {
    const file = await begin({}, { DVCR_UPLOAD_IDLE_TIMEOUT: "1" });
    const socket = await putPart(content.subarray(0, half));
    let answer = "";
    socket.setEncoding("latin1").on("data", (text: string) => (answer += text));
    let sent = half;
    const timer = setInterval(() => socket.write(content.subarray(sent, (sent += 1))), 100);
    await eventually(() => answer.includes("E_CLIENT_STALLED"));
    clearInterval(timer);
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    const offset = /\r\nupload-offset: (\d+)\r\n/.exec(answer)?.[1];
    expect(Number(offset)).toBeGreaterThan(half);
    expect((await put(file, "-C", offset!)).stdout).toMatch(/^stored /);
    expect(uploader.seen.sha256).toBe(sha256(content).toString("hex"));
    socket.destroy();
  });

  it("after a part of its head holds no slot", async () => {
    const file = await begin();
    const slow = connect(uploader.ports["upload"]!, "127.0.0.1");
    slow.on("error", () => undefined);
    slow.write("PUT /upload HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    expect((await put(file)).stdout).toMatch(/^stored /);
    slow.destroy();
  });
});

describe("a connection cut after the last byte", () => {
  const cutAfterLast = async (gate: { open(): void }): Promise<void> => {
    const socket = connect(uploader.ports["upload"]!, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(
      `PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: ${content.length}\r\nRepr-Digest: ` +
        `${digestHeader(content)}\r\n\r\n`,
    );
    socket.write(content);
    await eventually(async () => (await head())["dvcr-upload-state"] === "importing");
    socket.destroy();
    expect(await head()).toMatchObject({
      "upload-offset": String(content.length),
      "upload-complete": "?1",
      "dvcr-upload-state": "importing",
    });
    gate.open();
    await eventually(() => uploader.message() !== undefined);
  };

  it("stops nothing: HEAD gives the result, and the process ends", async () => {
    const gate = latch();
    await begin({ before: () => gate.opened });
    await cutAfterLast(gate);
    expect(await head()).toMatchObject({
      "dvcr-upload-state": "stored",
      "docker-content-digest": sampleReport.manifestDigest,
    });
    expect(await uploader.exit).toBe(0);
  });

  it("stops nothing: the same PUT again is answered with the result, not with a second import", async () => {
    const gate = latch();
    const file = await begin({ before: () => gate.opened });
    await cutAfterLast(gate);
    expect((await put(file, "-H", `Repr-Digest: ${digestHeader(Buffer.from("other"))}`)).stdout).toMatch(
      /^E_UPLOAD_DONE: [^]*\n409$/,
    );
    expect((await put(file, "-H", `Repr-Digest: ${digestHeader(content)}`)).stdout).toMatch(/^stored .*\n200$/);
    expect(uploader.seen.imports).toBe(1);
    expect(await uploader.exit).toBe(0);
  });

  it("keeps a refusal for who asks, and ends by itself when nobody does", async () => {
    const gate = latch();
    await begin(
      {
        before: () => gate.opened,
        failAt: { bytes: 1, error: new DvcrError("E_BACKING_FILE", "the image needs the backing file base.qcow2") },
      },
      { DVCR_UPLOAD_RESULT_TIME: "1" },
    );
    await cutAfterLast(gate);
    expect(await uploader.exit).toBe(0);
    expect(uploader.message()?.["error-message"]).toMatch(/^E_BACKING_FILE: /);
  });

  it("leaves a result that SIGTERM does not turn into a failure", async () => {
    const gate = latch();
    await begin({ before: () => gate.opened });
    await cutAfterLast(gate);
    uploader.signal("SIGTERM");
    expect(await uploader.exit).toBe(0);
    expect(uploader.message()).not.toHaveProperty("error-message");
  });
});
