import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DvcrError } from "../src/errors/dvcr-error.ts";
import { createLogger } from "../src/log/logger.ts";
import { redactText, redactUrl } from "../src/log/redact.ts";
import { podExitCode } from "../src/process/outcome.ts";
import { errorLine, maxMessageBytes, successMessage } from "../src/termination/message.ts";
import { importResult, TerminationWriter } from "../src/termination/writer.ts";
import { sampleReport } from "./support/fake-import.ts";

const textOf = (line: string): string => (JSON.parse(line) as { "error-message": string })["error-message"];

describe("the message of a stored image", () => {
  it("has the controller's names and whole numbers: layer bytes, virtual bytes, nanoseconds, bytes per second", () => {
    expect(successMessage(sampleReport)).toEqual({
      "source-image-size": 614_465_536,
      "source-image-virtual-size": 4_294_967_296,
      "source-image-format": "raw",
      duration: 4_200_000_001,
      "average-speed": 146_301_318,
    });
  });

  it("leaves out what is zero or no number", () => {
    expect(successMessage({ ...sampleReport, durationSeconds: 0, averageSpeed: Number.POSITIVE_INFINITY })).toEqual({
      "source-image-size": 614_465_536,
      "source-image-virtual-size": 4_294_967_296,
      "source-image-format": "raw",
    });
  });
});

describe("the message of a failure", () => {
  it.each([
    ["plain text", "x".repeat(100_000)],
    ["three-byte characters", "файл повреждён € ".repeat(2000)],
    ["four-byte characters", "💾".repeat(5000)],
    ["characters that JSON escapes", '"\\'.repeat(5000)],
    ["lone surrogates", "\ud800".repeat(5000)],
  ])("is one line of at most 4096 bytes for long %s", (_, text) => {
    const line = errorLine(`begin ${text} end`);
    expect(Buffer.byteLength(line)).toBeLessThanOrEqual(maxMessageBytes);
    expect(Buffer.byteLength(line)).toBeGreaterThan(maxMessageBytes - 16);
    expect(line).not.toContain("\n");
    expect(textOf(line)).toMatch(/^begin .* … .* end$/su);
    expect(textOf(line)).not.toMatch(/[\ud800-\udfff]/u);
  });

  it("has its newlines and control characters as spaces", () => {
    expect(textOf(errorLine("first\r\n\tsecond\u0000third\n"))).toBe("first second third");
  });

  it("is never empty, because that would read as success", () => {
    expect(textOf(errorLine(" \n"))).not.toBe("");
  });

  it("carries no secret", () => {
    const text =
      "GET https://user:pa55word@host.example/path?X-Signature=abc123: Authorization: Basic " +
      "dXNlcjpwYTU1d29yZA== token eyJhbGciOi.eyJpc3MiOi.c2ln and hunter2!";
    const message = textOf(errorLine(text, ["hunter2!"]));
    expect(message).toBe("GET https://host.example/path?***: Authorization: Basic *** token *** and ***");
  });
});

describe("secrets in text", () => {
  it("are taken out of URLs, and the rest of the URL is kept", () => {
    expect(redactUrl("https://u:p@example.org:8443/a/b.qcow2?sig=1#f")).toBe("https://example.org:8443/a/b.qcow2?***");
    expect(redactUrl("no url")).toBe("no url");
    expect(redactText("from docker://dvcr.d8-virtualization.svc/cvi/x:1.")).toBe(
      "from docker://dvcr.d8-virtualization.svc/cvi/x:1.",
    );
  });

  it("are taken out of log lines", () => {
    const lines: string[] = [];
    const log = createLogger({ output: { write: (line: string) => void lines.push(line) }, secrets: ["hunter2"] });
    log.info({ headers: { authorization: "Basic abc" }, req: { headers: { authorization: "Bearer abc" } } }, "one");
    log.error(
      { err: new DvcrError("E_SOURCE_DENIED", "password hunter2 refused", { cause: new Error("hunter2 again") }) },
      "two",
    );
    expect(lines).toHaveLength(2);
    expect(lines.join("")).not.toMatch(/hunter2|abc/);
    expect(JSON.parse(lines[1]!)).toMatchObject({ level: "error", err: { code: "E_SOURCE_DENIED" }, msg: "two" });
    expect((JSON.parse(lines[0]!) as { time: string }).time).toMatch(/^\d{4}-\d\d-\d\dT/);
  });
});

describe("the termination file", () => {
  let directory: string;
  let path: string;
  const log = createLogger({ output: { write: () => undefined } });
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "dvcr-termination-"));
    path = join(directory, "termination-log");
  });
  afterEach(() => rmSync(directory, { recursive: true }));
  const writer = (to = path) =>
    new TerminationWriter({
      path: to,
      form: importResult,
      destination: "dvcr.d8-virtualization.svc/cvi/disk:0a1b",
      secrets: [],
      log,
    });

  it("is replaced whole, also where a longer text stood in it", () => {
    writeFileSync(path, "x".repeat(9000));
    expect(writer().success(sampleReport)).toBe(true);
    expect(JSON.parse(readFileSync(path, "utf8"))).toHaveProperty("source-image-format", "raw");
  });

  it("tells a full registry in the form that the controller recognises", () => {
    writer().failure(new DvcrError("E_REGISTRY_FULL", "the registry has no space left"));
    const text = textOf(readFileSync(path, "utf8"));
    expect(text).toContain("dvcr.d8-virtualization.svc");
    expect(text).toContain("POST");
    expect(text).toMatch(/Err:28\D/);
  });

  it("tells a wrong checksum with the words that the controller's tests look for", () => {
    writer().failure(new DvcrError("E_CHECKSUM_MISMATCH", "sha256 sum mismatch: aa != bb"));
    expect(textOf(readFileSync(path, "utf8"))).toMatch(/sha256 sum mismatch: aa != bb/);
  });

  it("that cannot be written is told by the return value and never thrown", () => {
    expect(writer(join(directory, "missing", "log")).success(sampleReport)).toBe(false);
  });
});

describe("the exit code", () => {
  const stored = { kind: "stored", report: sampleReport } as const;
  const failed = (code: "E_CHECKSUM_MISMATCH" | "E_CONFIG" | "E_SOURCE_IO" | "E_CANCELLED" | "E_INTERNAL") =>
    ({ kind: "failed", error: new DvcrError(code, "x") }) as const;
  const facts = { messageWritten: true, stoppedBy: undefined };

  it("is 0 for a stored image and for what no further try can mend", () => {
    expect(
      [stored, failed("E_CHECKSUM_MISMATCH"), failed("E_CONFIG")].map((outcome) => podExitCode(outcome, facts)),
    ).toEqual([0, 0, 0]);
  });

  it("is 1 for what may pass, and for everything that left no message", () => {
    expect(podExitCode(failed("E_SOURCE_IO"), facts)).toBe(1);
    expect(podExitCode(failed("E_INTERNAL"), facts)).toBe(0);
    expect(podExitCode(stored, { ...facts, messageWritten: false })).toBe(1);
  });

  it("is 143 after SIGTERM unless the image was stored all the same", () => {
    expect(podExitCode(failed("E_CANCELLED"), { messageWritten: true, stoppedBy: "SIGTERM" })).toBe(143);
    expect(podExitCode(stored, { messageWritten: true, stoppedBy: "SIGTERM" })).toBe(0);
  });
});
