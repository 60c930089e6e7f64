/** Several ranges of one file at once, for servers that limit each connection. */
import type { Clock } from "../../retry/clock.ts";

/** 16 MiB ahead of the reader at most: four pieces on their way or waiting for their turn. */
export interface ParallelOptions {
  readonly connections: number;
  readonly pieceBytes: number;
  /** A single connection is watched for this long (milliseconds) before it is judged. */
  readonly watchMs: number;
  /** Bytes per second above which one connection is enough. */
  readonly slowBelow: number;
}

export const defaultParallel: ParallelOptions = {
  connections: 4,
  pieceBytes: 4 << 20,
  watchMs: 2000,
  slowBelow: 64 << 20,
};

/**
 * Judges whether one connection is the limit: it is when nearly all time passes in waiting for it, and not in the reader
 * that has enough, and it is slower than what would be worth no trouble.
 */
export class SlownessWatch {
  readonly #clock: Clock;
  readonly #options: ParallelOptions;
  #since: number;
  #waited = 0;
  #bytes = 0;

  constructor(clock: Clock, options: ParallelOptions) {
    this.#clock = clock;
    this.#options = options;
    this.#since = clock.now();
  }

  /** Awaits the next chunk, and counts what it took and brought. */
  async waitFor<T extends IteratorResult<Uint8Array>>(next: Promise<T>): Promise<T> {
    const began = this.#clock.now();
    const result = await next;
    this.#waited += this.#clock.now() - began;
    if (result.done !== true) this.#bytes += result.value.byteLength;
    return result;
  }

  /** True once the connection was watched for long enough and found slow; the watch then begins again. */
  isSlow(): boolean {
    const elapsed = this.#clock.now() - this.#since;
    if (elapsed < this.#options.watchMs) return false;
    const slow = this.#waited > 0.8 * elapsed && (this.#bytes * 1000) / elapsed < this.#options.slowBelow;
    this.#since = this.#clock.now();
    this.#waited = this.#bytes = 0;
    return slow;
  }
}

/**
 * The bytes from `from` to `size` in order, `connections` pieces being fetched at a time. Ends with the error of the first
 * piece that fails, after all bytes before it; what was fetched behind it is dropped and `abandon` ends what is under way.
 */
export async function* inPieces(
  range: { readonly from: number; readonly size: number },
  options: ParallelOptions,
  fetch: (offset: number, length: number, signal: AbortSignal) => Promise<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const abandon = new AbortController();
  const window: Promise<Uint8Array>[] = [];
  let next = range.from;
  try {
    for (;;) {
      while (window.length < options.connections && next < range.size) {
        const length = Math.min(options.pieceBytes, range.size - next);
        const piece = fetch(next, length, abandon.signal);
        piece.catch(() => undefined);
        window.push(piece);
        next += length;
      }
      const first = window.shift();
      if (first === undefined) return;
      yield await first;
    }
  } finally {
    abandon.abort();
    await Promise.allSettled(window);
  }
}
