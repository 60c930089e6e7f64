/** What an upload holds while its import takes nothing, and what clients that never finish hold. */
import { connect, type Socket } from "node:net";
import { once } from "node:events";
import { request } from "undici";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { ByteQueue } from "../src/uploader/byte-queue.ts";
import { Upload } from "../src/uploader/upload.ts";
import { curl, eventually } from "./support/pod.ts";
import { startFakeUploader, type FakeUploader } from "./support/uploader.ts";

const mebibyte = 2 ** 20;
const chunk = Buffer.alloc(65_536);

describe("a client that is held back", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  /** Pushes as a connection does; tells how much was taken so far. */
  function writer(queue: { room(): Promise<void>; push(chunk: Uint8Array): void }): () => number {
    let taken = 0;
    void (async () => {
      for (;;) {
        await queue.room();
        queue.push(chunk);
        taken += chunk.length;
      }
    })();
    return () => taken;
  }

  it("is read from every interval, half a MiB at a time and 32 MiB in all", async () => {
    const queue = new ByteQueue(20_000);
    const taken = writer(queue);
    await vi.advanceTimersByTimeAsync(19_999);
    expect(taken()).toBe(mebibyte);
    await vi.advanceTimersByTimeAsync(1);
    expect(taken()).toBe(1.5 * mebibyte);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(taken()).toBe(2 * mebibyte);
    await vi.advanceTimersByTimeAsync(3600_000);
    expect(taken()).toBe(33 * mebibyte);
  });

  it("is back at its bound once the import takes bytes again", async () => {
    const queue = new ByteQueue(20_000);
    const taken = writer(queue);
    await vi.advanceTimersByTimeAsync(60_000);
    const before = taken();
    for (let left = before - mebibyte; left > 0; left -= chunk.length) await queue.next();
    await vi.advanceTimersByTimeAsync(19_999);
    expect(taken()).toBe(before);
    for (let one = 0; one < 16; one += 1) await queue.next();
    await vi.advanceTimersByTimeAsync(0);
    expect(taken()).toBe(before + mebibyte);
  });

  it("is let on at the interval that its upload was given", async () => {
    const idle = (): Promise<never> => new Promise(() => undefined);
    const upload = new Upload({ total: undefined, checksums: [], isFramedSnappy: false }, idle, { sipInterval: 3000 });
    const taken = writer({
      room: () => upload.room(),
      push: (bytes) => {
        upload.take(bytes);
      },
    });
    await vi.advanceTimersByTimeAsync(3000);
    expect(taken()).toBe(1.5 * mebibyte);
  });
});

describe("clients that never finish", () => {
  let uploader: FakeUploader;
  afterEach(() => uploader.dispose());

  const open = (head: string): Socket => {
    const socket = connect(uploader.ports["upload"]!, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(head);
    return socket;
  };
  const isClosed = (socket: Socket): boolean => socket.destroyed || socket.readableEnded;

  it("their request's head are closed after its time, and no upload waits for them", async () => {
    uploader = await startFakeUploader({}, { DVCR_UPLOAD_HEAD_TIMEOUT: "1" });
    const slow = Array.from({ length: 200 }, () => open("PUT /upload HTTP/1.1\r\nHost: x\r\nX-Slow: "));
    // A byte now and then keeps none of them.
    const timer = setInterval(() => {
      for (const socket of slow) if (!socket.destroyed) socket.write("x");
    }, 100);
    const answers = slow.map((socket) =>
      once(socket.setEncoding("latin1"), "data").then(
        ([text]) => String(text),
        () => "",
      ),
    );
    expect((await request(uploader.url)).statusCode).toBe(200);
    await eventually(() => slow.every(isClosed));
    clearInterval(timer);
    expect(await Promise.all(answers)).toEqual(
      Array.from({ length: 200 }, () => expect.stringMatching(/^HTTP\/1\.1 408 /) as string),
    );
    expect(uploader.seen.imports).toBe(0);
  });

  it("their body lose the slot after its time, without an import that holds anything", async () => {
    uploader = await startFakeUploader({}, { DVCR_UPLOAD_IDLE_TIMEOUT: "1", DVCR_UPLOAD_RESUME_TIMEOUT: "1" });
    const slow = open("PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\n\r\nx");
    const timer = setInterval(() => {
      if (!slow.destroyed) slow.write("x");
    }, 100);
    let answer = "";
    slow.setEncoding("latin1").on("data", (text: string) => (answer += text));
    await eventually(() => answer.includes("E_CLIENT_STALLED"));
    clearInterval(timer);
    // Nobody goes on with it: the import that was begun is ended, and another upload is taken.
    await eventually(
      async () => (await request(uploader.url, { method: "HEAD" })).headers["dvcr-upload-state"] === "idle",
    );
    const upload = curl("-T", "-", uploader.url);
    await upload.write(chunk);
    upload.end();
    expect((await upload.done).stdout).toMatch(/^stored /);
  });
});
