import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { DvcrError } from "../src/errors/dvcr-error.ts";
import { curl, eventually, rawRequest } from "./support/pod.ts";
import { latch, startFakeUploader, type FakeUploader } from "./support/uploader.ts";

const mebibyte = randomBytes(2 ** 20);

// Not by curl: while its own input gives nothing it does not look for an answer.
const unfinishedHead = "PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\n\r\n";

let uploader: FakeUploader;
afterEach(() => uploader.dispose());

function writeDisk(): string {
  const file = join(uploader.directory, "disk.img");
  writeFileSync(file, mebibyte);
  return file;
}

describe("a client that goes away", () => {
  it.each([
    ["raw, known length", ["-T", "-", "-H", "Content-Length: 5000000000", "-H", "Transfer-Encoding:"]],
    ["raw, chunked", ["-T", "-"]],
    ["as a form", ["-F", "file=@-", "-H", "Expect:"]],
  ])("in the middle (%s) ends nothing: the next upload is taken", async (_, args) => {
    uploader = await startFakeUploader();
    const upload = curl(...args, uploader.url);
    await upload.write(mebibyte);
    await eventually(() => uploader.seen.bytes >= 2 ** 19 || args[0] === "-F");
    upload.kill();
    await upload.done;
    if (args[0] !== "-F") await eventually(() => uploader.logLines.some((line) => line.includes("E_CLIENT_GONE")));
    expect(uploader.message()).toBeUndefined();
    const next = await eventually(async () => {
      const { stdout } = await curl("-T", writeDisk(), uploader.url).done;
      return stdout.startsWith("E_BUSY") ? undefined : stdout;
    });
    expect(next).toMatch(/^stored /);
    expect(await uploader.exit).toBe(0);
  });

  it("that stops sending is answered 408, and the next upload is taken", async () => {
    uploader = await startFakeUploader({}, { DVCR_UPLOAD_IDLE_TIMEOUT: "1" });
    const answer = await rawRequest(uploader.ports["upload"]!, unfinishedHead, mebibyte);
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    expect(answer).toMatch(/\r\n\r\nE_CLIENT_STALLED: no data came for 1 seconds\. .*\n$/);
    expect((await curl("-T", writeDisk(), uploader.url).done).stdout).toMatch(/^stored /);
  });

  it("is not taken for stalled while the import is the slow one", async () => {
    const gate = latch();
    uploader = await startFakeUploader({ before: () => gate.opened }, { DVCR_UPLOAD_IDLE_TIMEOUT: "1" });
    const upload = curl("-T", writeDisk(), uploader.url);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    gate.open();
    expect((await upload.done).stdout).toMatch(/^stored /);
  });
});

describe("a fault of the program", () => {
  it("is no reason to send the file for ever: after the third time it is the verdict, with a text", async () => {
    uploader = await startFakeUploader({ before: () => Promise.reject(new DvcrError("E_INTERNAL", " ")) });
    const file = writeDisk();
    const upload = () => curl("-H", "Accept: application/json", "-T", file, uploader.url).done;
    for (let count = 1; count <= 3; count += 1) {
      expect(uploader.message()).toBeUndefined();
      const { code, detail, retryable } = JSON.parse((await upload()).stdout) as Record<string, unknown>;
      expect([code, detail, retryable]).toEqual(["E_INTERNAL", "Something went wrong inside", false]);
    }
    expect(await uploader.exit).toBe(0);
    expect(JSON.stringify(uploader.message())).toContain("E_INTERNAL: Something went wrong inside");
  });
});

describe("a failure that may pass", () => {
  it("is answered with its status and kept to this upload: the process waits for another", async () => {
    let attempts = 0;
    uploader = await startFakeUploader({
      before: () => {
        attempts += 1;
        return attempts === 1
          ? Promise.reject(new DvcrError("E_REGISTRY_UNAVAILABLE", "the registry answers 500"))
          : Promise.resolve();
      },
    });
    const file = writeDisk();
    expect((await curl("-w", "%{http_code}", "-T", file, uploader.url).done).stdout).toMatch(
      /^E_REGISTRY_UNAVAILABLE: .*\n502$/,
    );
    expect(uploader.message()).toBeUndefined();
    expect((await curl("-T", file, uploader.url).done).stdout).toMatch(/^stored /);
    expect(await uploader.exit).toBe(0);
    expect(uploader.message()).not.toHaveProperty("error-message");
  });
});

describe("a full registry", () => {
  it("is told to the controller in the form it recognises, with exit code 0", async () => {
    uploader = await startFakeUploader({
      failAt: { bytes: 1, error: new DvcrError("E_REGISTRY_FULL", "the registry has no space left") },
    });
    const { stdout } = await curl("-w", "%{http_code}", "-T", writeDisk(), uploader.url).done;
    expect(stdout).toMatch(/^E_REGISTRY_FULL: .*\n507$/);
    expect(await uploader.exit).toBe(0);
    const text = String(uploader.message()?.["error-message"]);
    expect(text).toContain("dvcr.d8-virtualization.svc");
    expect(text).toContain("POST");
    expect(text).toMatch(/Err:28\D/);
  });
});

describe("SIGTERM", () => {
  it("before any upload ends the process with 143 and a message", async () => {
    uploader = await startFakeUploader();
    uploader.signal("SIGTERM");
    expect(await uploader.exit).toBe(143);
    expect(uploader.message()?.["error-message"]).toMatch(/^E_CANCELLED: .*SIGTERM/);
  });

  it("in the middle of an upload tells the client too", async () => {
    uploader = await startFakeUploader();
    const answer = rawRequest(uploader.ports["upload"]!, unfinishedHead, mebibyte);
    await eventually(() => uploader.seen.bytes > 0);
    uploader.signal("SIGTERM");
    expect(await answer).toMatch(/^HTTP\/1\.1 503 [^]*\r\n\r\nE_CANCELLED: /);
    expect(await uploader.exit).toBe(143);
    expect(uploader.message()?.["error-message"]).toMatch(/^E_CANCELLED: /);
  });
});

describe("a wrong configuration", () => {
  it("ends with every problem in the termination message and exit code 0", async () => {
    uploader = await startFakeUploader({}, { UPLOADER_DESTINATION_ENDPOINT: "", DVCR_LAYER_COMPRESSION: "rar" }, [
      "--listen-port=none",
    ]);
    expect(await uploader.exit).toBe(0);
    const text = String(uploader.message()?.["error-message"]);
    expect(text).toMatch(/^E_CONFIG: /);
    for (const name of ["--listen-port", "UPLOADER_DESTINATION_ENDPOINT", "DVCR_LAYER_COMPRESSION"])
      expect(text).toContain(name);
  });

  it("of the TLS files names the variable", async () => {
    uploader = await startFakeUploader({}, { TLS_CERT_FILE: "/missing.crt", TLS_KEY_FILE: "/missing.key" });
    expect(await uploader.exit).toBe(0);
    expect(uploader.message()?.["error-message"]).toMatch(
      /TLS_CERT_FILE: got "\/missing\.crt", expected a readable file/,
    );
  });

  it("leaves the metrics port answering first", async () => {
    uploader = await startFakeUploader({}, { UPLOADER_DESTINATION_ENDPOINT: "" });
    expect(uploader.ports["metrics"]).toBeGreaterThan(0);
    expect(uploader.ports["upload"]).toBeUndefined();
  });
});
