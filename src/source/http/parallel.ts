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
 * Judges whether one connection is the limit: it is when nearly all time passes in waiting for it, and not in the
 * reader that has enough, and it is slower than what would be worth no trouble.
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

interface Piece {
  readonly from: number;
  readonly end: number;
  readonly abandon: AbortController;
  /** Bytes that have come. */
  filled: number;
  bytes: Uint8Array | undefined;
  done: Promise<Uint8Array>;
}

export type FetchPiece = (
  offset: number,
  length: number,
  options: { readonly signal: AbortSignal; readonly onBytes: (bytes: number) => void },
) => Promise<Uint8Array>;

/**
 * The bytes from one offset to the end of a file in pieces, several being fetched at a time, in order. While they are
 * on trial another connection brings the same bytes: its reader asks with takeOver() whether they can go on from where
 * it is.
 */
export class PieceWindow {
  readonly #size: number;
  readonly #options: ParallelOptions;
  readonly #fetch: FetchPiece;
  readonly #pieces: Piece[] = [];
  #next: number;
  #failure: unknown;

  constructor(range: { readonly from: number; readonly size: number }, options: ParallelOptions, fetch: FetchPiece) {
    this.#size = range.size;
    this.#options = options;
    this.#fetch = fetch;
    this.#next = range.from;
  }

  /** Bytes that have come and wait for their turn. */
  get ahead(): number {
    return this.#pieces.reduce((sum, { filled }) => sum + filled, 0);
  }

  /** What the first piece to fail failed with. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Fetches up to `connections` pieces at a time from now on. */
  fill(connections = this.#options.connections): void {
    while (this.#pieces.length < connections && this.#next < this.#size) {
      const [from, end] = [this.#next, Math.min(this.#next + this.#options.pieceBytes, this.#size)];
      const abandon = new AbortController();
      const piece: Piece = { from, end, abandon, filled: 0, bytes: undefined, done: Promise.resolve(new Uint8Array()) };
      const onBytes = (bytes: number) => (piece.filled += bytes);
      piece.done = this.#fetch(from, end - from, { signal: abandon.signal, onBytes });
      piece.done.then(
        (bytes) => (piece.bytes = bytes),
        (error: unknown) => {
          if (this.#pieces.includes(piece)) this.#failure ??= error;
        },
      );
      this.#pieces.push(piece);
      this.#next = end;
    }
  }

  /**
   * While another connection has come as far as `offset`: drops what it has passed. True once the piece that holds
   * `offset` is there; it then begins at `offset`, and the other connection is not needed any more.
   */
  takeOver(offset: number): boolean {
    for (let first = this.#pieces[0]; first !== undefined && first.end <= offset; first = this.#pieces[0]) {
      first.abandon.abort();
      this.#pieces.shift();
    }
    const [first] = this.#pieces;
    if (first?.bytes === undefined || first.from > offset) return false;
    const rest = first.bytes.subarray(offset - first.from);
    this.#pieces[0] = { ...first, from: offset, filled: rest.byteLength, bytes: rest, done: Promise.resolve(rest) };
    return true;
  }

  /** The rest in order. Ends with the error of the first piece that fails, after all bytes before it. */
  async *rest(): AsyncGenerator<Uint8Array> {
    for (;;) {
      this.fill();
      const [first] = this.#pieces;
      if (first === undefined) return;
      const bytes = await first.done;
      this.#pieces.shift();
      yield bytes;
    }
  }

  /** Drops what has come and ends what is under way. */
  async close(): Promise<void> {
    const pieces = this.#pieces.splice(0);
    for (const { abandon } of pieces) abandon.abort();
    await Promise.allSettled(pieces.map(({ done }) => done));
  }
}
