/**
 * What many uploads hold together that were begun and left: a total, a share for each owner, and who is imported goes
 * on.
 */
import { describe, expect, it } from "vitest";

import { DvcrError } from "../src/errors/dvcr-error.ts";
import type { Source } from "../src/source/source.ts";
import type { Upload } from "../src/uploader/upload.ts";
import { UploadMemory } from "../src/uploader/upload-memory.ts";
import { UploadSession } from "../src/uploader/upload-session.ts";

const mebibyte = 2 ** 20;
const chunk = Buffer.alloc(65_536);
const plan = { total: undefined, checksums: [], isFramedSnappy: false };

/** A session whose import waits for a place until it is cancelled, or reads what comes. */
function sessionOf(memory: UploadMemory, owner: string, read?: (source: Source) => void): UploadSession {
  return new UploadSession({
    startImport: (source, _checksums, signal) => {
      read?.(source);
      return new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      });
    },
    onVerdict: () => undefined,
    onDone: () => undefined,
    resumeTimeout: 3_600_000,
    silence: 1000,
    resultTime: 0,
    memory: memory.of(owner),
  });
}

/** Sends until it is held back, at most 2 MiB; its client then goes away. */
async function sendAndLeave(session: UploadSession): Promise<void> {
  const upload = await session.begin(plan);
  upload.result().catch(() => undefined);
  let isHeldBack = false;
  while (!isHeldBack && upload.offset < 2 * mebibyte) {
    isHeldBack = await Promise.race([
      upload.room().then(() => false),
      new Promise<true>((resolve) => setImmediate(() => resolve(true))),
    ]);
    if (!isHeldBack) upload.take(chunk);
  }
  session.release();
}

const close = (sessions: readonly UploadSession[]) =>
  Promise.all(sessions.map((session) => session.close(new DvcrError("E_CANCELLED", "the test is over"))));

describe("a thousand uploads that are begun and left", () => {
  it("hold their owner's share, are refused from then on, and give all of it back", async () => {
    const memory = new UploadMemory(16 * mebibyte, 4 * mebibyte);
    const sessions = Array.from({ length: 1000 }, () => sessionOf(memory, "team-a"));
    const refused: unknown[] = [];
    for (const session of sessions) await sendAndLeave(session).catch((error: unknown) => refused.push(error));
    expect(memory.held).toBe(4 * mebibyte);
    expect(refused).toHaveLength(996);
    expect(refused[0]).toMatchObject({ code: "E_UPLOAD_MEMORY", entry: { status: 503, kind: "retry" } });

    const others = Array.from({ length: 3 }, (_none, at) => sessionOf(memory, `team-${at}`));
    for (const session of others) await sendAndLeave(session);
    expect(memory.held).toBe(7 * mebibyte);

    await close([...sessions, ...others]);
    expect(memory.held).toBe(0);
    const again = sessionOf(memory, "team-a");
    await sendAndLeave(again);
    expect(memory.held).toBe(mebibyte);
    await close([again]);
  });

  it("of many owners hold the total", async () => {
    const memory = new UploadMemory(4 * mebibyte, mebibyte);
    const sessions = Array.from({ length: 20 }, (_none, at) => sessionOf(memory, `team-${at}`));
    const ended = await Promise.allSettled(sessions.map((session) => sendAndLeave(session)));
    expect(memory.held).toBeLessThanOrEqual(4 * mebibyte + sessions.length * chunk.length);
    expect(ended.every(({ status }) => status === "fulfilled")).toBe(true);
    await expect(sessionOf(memory, "late").begin(plan)).rejects.toMatchObject({ code: "E_UPLOAD_MEMORY" });
    await close(sessions);
    expect(memory.held).toBe(0);
  });
});

it("an upload that is imported goes on while others hold all of the memory", async () => {
  const memory = new UploadMemory(2 * mebibyte);
  let taken = 0;
  const flowing = sessionOf(memory, "team-b", (source) => {
    const reading = async (): Promise<void> => {
      const { chunks } = await source.open(new AbortController().signal);
      for await (const bytes of chunks!) taken += bytes.byteLength;
    };
    // It ends with the session.
    reading().catch(() => undefined);
  });
  const upload: Upload = await flowing.begin(plan);
  upload.result().catch(() => undefined);
  const waiting = [sessionOf(memory, "team-a"), sessionOf(memory, "team-a")];
  for (const session of waiting) await sendAndLeave(session);
  expect(memory.held).toBe(2 * mebibyte);
  while (upload.offset < 8 * mebibyte) {
    await upload.room();
    upload.take(chunk);
  }
  await upload.room();
  expect(taken).toBe(8 * mebibyte);
  await close([flowing, ...waiting]);
  expect(memory.held).toBe(0);
});
