import { createHash, randomBytes } from "node:crypto";
import { request } from "undici";
import { afterEach, describe, expect, it } from "vitest";
import { DvcrError } from "../src/errors/dvcr-error.ts";
import { sampleReport, type FakeBehaviour } from "./support/fake-import.ts";
import { curl, eventually, ownerUid, rawRequest, sendThenRead } from "./support/pod.ts";
import { latch, startFakeUploaderWith, type FakeUploader } from "./support/uploader.ts";

const content = randomBytes(3 * 2 ** 20 + 17);
const sha256 = createHash("sha256").update(content).digest("hex");
const mebibyte = randomBytes(2 ** 20);

let uploader: FakeUploader;
afterEach(() => uploader.dispose());

async function begin(behaviour?: FakeBehaviour, environment?: Record<string, string>): Promise<string> {
  const started = await startFakeUploaderWith(content, behaviour, environment);
  uploader = started.uploader;
  return started.file;
}

describe("an upload", () => {
  it("by curl -T is stored, answered with one line, and ends the process with 0", async () => {
    const file = await begin();
    const result = await curl("-w", "%{http_code}", "-T", file, uploader.url).done;
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout).toMatch(/^stored docker:\/\/\S+@sha256:1{64}: .*\n200$/);
    expect(await uploader.exit).toBe(0);
    expect(uploader.seen).toMatchObject({ sha256, bytes: content.length });
    expect(uploader.message()).toMatchObject({
      "source-image-format": "raw",
      "source-image-virtual-size": sampleReport.virtualSize,
    });
  });

  it("is answered with the report where JSON is asked for", async () => {
    const file = await begin();
    const { stdout } = await curl("-H", "Accept: application/json", "-T", file, uploader.url).done;
    expect(JSON.parse(stdout)).toEqual({ ...sampleReport, sourceSize: content.length });
  });

  it.each([
    ["from a pipe, chunked", ["-T", "-"]],
    ["by POST", ["-X", "POST", "-T", "-"]],
    ["with a content type", ["-H", "Content-Type: application/json", "-T", "-"]],
    ["without Expect", ["-H", "Expect:", "-T", "-"]],
  ])("%s arrives whole", async (_, args) => {
    await begin();
    const upload = curl("-w", "%{http_code}", ...args, uploader.url);
    await upload.write(content);
    upload.end();
    expect((await upload.done).stdout).toMatch(/\n200$/);
    expect(uploader.seen.sha256).toBe(sha256);
  });

  it("by a browser's form arrives as the form's first file", async () => {
    const file = await begin();
    const { stdout } = await curl("-w", "%{http_code}", "-F", "note=hello", "-F", `file=@${file}`, uploader.url).done;
    expect(stdout).toMatch(/\n200$/);
    expect(uploader.seen).toMatchObject({ sha256, bytes: content.length });
  });

  it("by a form without a file is told so, and another may follow", async () => {
    const file = await begin();
    const { stdout } = await curl("-w", "%{http_code}", "-F", "note=hello", uploader.url).done;
    expect(stdout).toMatch(/^E_BAD_REQUEST: the form holds no file\..*\n400$/);
    expect((await curl("-w", "%{http_code}", "-T", file, uploader.url).done).stdout).toMatch(/\n200$/);
  });

  it("is asked for its body only once it is accepted", async () => {
    await begin();
    const answer = await rawRequest(
      uploader.ports["upload"]!,
      "PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\nExpect: " +
        "100-continue\r\nContent-Encoding: gzip\r\n\r\n",
    );
    expect(answer).toMatch(/^HTTP\/1\.1 415 /);
    expect(answer).toContain("E_CONTENT_CODING");
    const accepted = rawRequest(
      uploader.ports["upload"]!,
      "PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
      Buffer.from("x"),
    );
    expect(await accepted).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
  });
});

describe("declared checksums", () => {
  const base64 = (hash: string) => createHash(hash).update(content).digest("base64");

  it.each(["Content-Digest", "Repr-Digest"])("in %s are verified beside the configured ones", async (header) => {
    const file = await begin({}, { UPLOADER_CHECKSUMS: `md5:${"0".repeat(32)}` });
    await curl(
      "-H",
      `${header}: sha-256=:${base64("sha256")}:, sha-512=:${base64("sha512")}:, unixsum=:AAAA:`,
      "-T",
      file,
      uploader.url,
    ).done;
    expect(uploader.seen.options?.checksums).toEqual([
      { algorithm: "md5", expected: "0".repeat(32) },
      { algorithm: "sha256", expected: sha256 },
      { algorithm: "sha512", expected: createHash("sha512").update(content).digest("hex") },
    ]);
  });

  it("that are malformed or contradict the configured ones are refused, and another upload may follow", async () => {
    const file = await begin({}, { UPLOADER_CHECKSUMS: `sha256:${"0".repeat(64)}` });
    for (const value of ["sha-256=abc", "sha-256=:AAAA:", `sha-256=:${base64("sha256")}:`]) {
      const { stdout } = await curl("-w", "%{http_code}", "-H", `Content-Digest: ${value}`, "-T", file, uploader.url)
        .done;
      expect(stdout).toMatch(/^E_BAD_REQUEST: .*\n400$/);
    }
    expect(uploader.seen.imports).toBe(0);
    expect(uploader.message()).toBeUndefined();
  });

  it("that are wrong end the process with 0 and the reason in answer and termination message", async () => {
    const file = await begin({}, { UPLOADER_CHECKSUMS: `sha256:${"0".repeat(64)}` });
    const { stdout } = await curl("-w", "%{http_code}", "-T", file, uploader.url).done;
    expect(stdout).toContain(`E_CHECKSUM_MISMATCH: sha256 sum mismatch: ${"0".repeat(64)} != ${sha256}. `);
    expect(stdout).toMatch(/\n422$/);
    expect(await uploader.exit).toBe(0);
    expect(uploader.message()?.["error-message"]).toContain("sha256 sum mismatch");
  });
});

describe("while an upload runs", () => {
  it("GET /upload, /healthz and /metrics answer, and a second upload is refused at once with Retry-After", async () => {
    const gate = latch();
    const file = await begin({ before: () => gate.opened });
    const first = curl("-T", file, uploader.url);
    await eventually(() => uploader.seen.imports === 1);

    const ready = await request(uploader.url);
    expect([ready.statusCode, await ready.body.text()]).toEqual([200, ""]);
    expect((await request(uploader.url, { method: "HEAD" })).statusCode).toBe(200);
    const health = await request(`http://127.0.0.1:${uploader.ports["healthz"]!}/healthz`);
    expect([health.statusCode, await health.body.text()]).toEqual([200, "OK\n"]);
    expect(await uploader.scrape()).toContain("registry_progress");

    const second = await curl("-i", "-T", file, uploader.url).done;
    expect(second.stdout).not.toContain("100 Continue");
    expect(second.stdout).toMatch(/^HTTP\/1\.1 503 .*\r\n/);
    expect(second.stdout).toMatch(/\r\nretry-after: \d+\r\n/i);
    expect(second.stdout).toMatch(/\r\n\r\nE_BUSY: another upload is running\. .*\n$/);

    gate.open();
    expect((await first.done).stdout).toMatch(/^stored /);
  });

  it("a second client that does not wait to be asked still reads why it is refused", async () => {
    const gate = latch();
    const file = await begin({ before: () => gate.opened });
    const first = curl("-T", file, uploader.url);
    await eventually(() => uploader.seen.imports === 1);
    const second = await curl("-H", "Expect:", "-T", file, uploader.url).done;
    expect(second.stdout).toMatch(/^E_BUSY: /);
    gate.open();
    await first.done;
  });

  it("progress is above 0 once data came, by the controller's expression", async () => {
    await begin();
    const upload = curl("-T", "-", uploader.url);
    await upload.write(mebibyte);
    const expression = new RegExp(
      `(?:registry_progress|kubevirt_cdi_import_progress_total)\\{ownerUID\\="${ownerUid}"\\} ([0-9e\\+\\-\\.]+)`,
    );
    const progress = await eventually(async () => {
      const value = Number(expression.exec(await uploader.scrape())?.[1]);
      return value > 0 ? value : undefined;
    });
    expect(progress).toBeLessThan(100);
    upload.end();
    await upload.done;
  });
});

describe("a refusal in the middle of a large upload", () => {
  const refusal = {
    failAt: { bytes: 2 ** 20, error: new DvcrError("E_BACKING_FILE", "the image needs the backing file base.qcow2") },
  };

  it.each([
    ["of known length", []],
    ["without Expect", ["-H", "Expect:"]],
  ])("%s is printed by curl", async (_, args) => {
    await begin(refusal);
    const { stdout } = await curl(
      ...args,
      "-w",
      "%{http_code}",
      "-T",
      "/dev/zero",
      "-H",
      "Content-Length: 5000000000",
      "-H",
      "Transfer-Encoding:",
      uploader.url,
    ).done;
    expect(stdout).toMatch(/^E_BACKING_FILE: the image needs the backing file base\.qcow2\. .*\n422$/);
    expect(await uploader.exit).toBe(0);
    expect(uploader.message()?.["error-message"]).toMatch(/^E_BACKING_FILE: /);
  });

  it("of unknown length is printed by curl", async () => {
    await begin(refusal);
    const { stdout } = await curl("-w", "%{http_code}", "-T", "/dev/zero", uploader.url).done;
    expect(stdout).toMatch(/^E_BACKING_FILE: .*\n422$/);
  });

  it("reaches a client that sends everything before it reads", async () => {
    await begin(refusal);
    const body = Buffer.alloc(32 * 2 ** 20);
    const answer = await sendThenRead(
      uploader.ports["upload"]!,
      `PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`,
      body,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 422 [^]*\r\n\r\nE_BACKING_FILE: /);
  });

  it("in a form is printed by curl", async () => {
    const file = await begin(refusal);
    const { stdout } = await curl("-w", "%{http_code}", "-F", `file=@${file}`, uploader.url).done;
    expect(stdout).toMatch(/^E_BACKING_FILE: .*\n422$/);
  });

  it("is a problem document where JSON is asked for", async () => {
    const file = await begin(refusal);
    const { stdout } = await curl("-i", "-H", "Accept: application/json", "-T", file, uploader.url).done;
    const [head, body] = stdout.split("\r\n\r\n").slice(-2);
    expect(head).toMatch(/content-type: application\/problem\+json/i);
    expect(JSON.parse(body!)).toMatchObject({
      type: "urn:dvcr:error:E_BACKING_FILE",
      status: 422,
      code: "E_BACKING_FILE",
      retryable: false,
    });
  });
});

describe("requests that are no upload", () => {
  it("are told what is wrong with them", async () => {
    const file = await begin();
    const base = uploader.url.replace("/upload", "");
    const status = async (...args: string[]) =>
      (await curl("-o", "/dev/null", "-w", "%{http_code}", ...args).done).stdout;
    expect(await status(`${base}/`)).toBe("404");
    expect(await status("-T", file, `${base}/other`)).toBe("404");
    expect(await status("-X", "DELETE", uploader.url)).toBe("405");
    expect(await status("-H", "Content-Encoding: gzip", "-T", file, uploader.url)).toBe("415");
    expect((await curl("-i", "-X", "TRACE", uploader.url).done).stdout).toMatch(
      /^HTTP\/1\.1 405 [^]*\r\nallow: GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS\r\n/i,
    );
    expect(uploader.seen.imports).toBe(0);
  });
});
