import { markAsUntransferable } from "node:worker_threads";

import { DvcrError } from "../errors/dvcr-error.ts";
import { addon, type NativeJob } from "../native/addon.ts";
import type { FeedMemory } from "./import-memory.ts";

const BATCH_BYTES = 1 << 20;
/**
 * Pushes a source's chunks into a native job by the mebibyte: one call and one reference per batch, no copy, and the
 * source is paused while the core has enough.
 */
export class Feed {
  readonly #job: NativeJob;
  readonly #memory: FeedMemory;
  readonly #inCore = new Map<number, { chunks: Uint8Array[]; bytes: number }>();
  #nextBatch = 0;
  #outstanding = 0;
  #closed = false;
  #resume: (() => void) | undefined;

  constructor(job: NativeJob, memory: FeedMemory) {
    this.#job = job;
    this.#memory = memory;
  }

  /** Reads `chunks` to their end. Returns early, without an error, once close() was called. */
  async run(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    let batch: Uint8Array[] = [];
    let bytes = 0;
    let timer: NodeJS.Timeout | undefined;
    const flush = () => {
      clearTimeout(timer);
      timer = undefined;
      if (bytes > 0 && !this.#closed) this.#push(batch, bytes);
      batch = [];
      bytes = 0;
    };
    try {
      for await (const chunk of chunks) {
        if (this.#closed) return;
        if (chunk.byteLength === 0) continue;
        batch.push(chunk);
        bytes += chunk.byteLength;
        if (bytes >= BATCH_BYTES) flush();
        // A slow source must not wait for a full mebibyte before anything moves.
        else timer ??= setTimeout(flush, 50);
        if (this.#outstanding >= this.#memory.highWater()) await this.#drained();
      }
      flush();
      if (!this.#closed) this.#job.end();
    } finally {
      clearTimeout(timer);
    }
  }

  /** The core is done with a batch. */
  released(batch: number): void {
    const entry = this.#inCore.get(batch);
    if (!entry) return;
    this.#inCore.delete(batch);
    // Left to the garbage collector, they would make it collect everything after each 64 MiB of them.
    addon.freeChunks(entry.chunks);
    this.#count(-entry.bytes);
    if (this.#outstanding <= this.#memory.highWater() / 2) this.#wake();
  }

  /** The job ended: nothing more is pushed and a paused source is let go. */
  close(): void {
    this.#closed = true;
    this.#inCore.clear();
    this.#count(-this.#outstanding);
    this.#wake();
  }

  #count(bytes: number): void {
    this.#outstanding += bytes;
    this.#memory.count(bytes);
  }

  #push(chunks: Uint8Array[], bytes: number): void {
    for (const chunk of chunks) keepInPlace(chunk);
    if (chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0) !== bytes) {
      throw new DvcrError("E_INTERNAL", "a chunk of the source was taken away before it was read");
    }
    const batch = this.#nextBatch++;
    this.#inCore.set(batch, { chunks, bytes });
    this.#count(bytes);
    this.#job.push(batch, chunks);
  }

  #drained(): Promise<void> {
    if (this.#closed || this.#outstanding <= this.#memory.highWater() / 2) return Promise.resolve();
    return new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  #wake(): void {
    this.#resume?.();
    this.#resume = undefined;
  }
}

/**
 * The core's threads read the chunk where it is, so nobody may move its memory away or change it from another thread.
 */
function keepInPlace(chunk: Uint8Array): void {
  if (chunk.buffer instanceof ArrayBuffer) markAsUntransferable(chunk.buffer);
  else throw new DvcrError("E_INTERNAL", "a chunk of the source is in memory that threads share");
}
