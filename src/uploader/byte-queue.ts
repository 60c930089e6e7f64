import type { DvcrError } from "../errors/dvcr-error.ts";
import type { HeldBytes } from "./upload-memory.ts";

/** Bytes that wait for the import before the client is held back; the import has its own 6 MiB behind them. */
const highWater = 2 ** 20;
/**
 * While the import takes nothing, so much is taken from the client at each interval, so that no proxy on the way sees
 * silence.
 */
const sipBytes = 2 ** 19;
const defaultSipInterval = 20_000;
/** What all sips together may hold. */
const sipsLimit = 32 * 2 ** 20;

/**
 * The bytes of one upload between the connections that bring them, one after the other, and the import that reads
 * them once. What was pushed is never lost: a new connection goes on behind it.
 */
export class ByteQueue implements AsyncIterableIterator<Uint8Array> {
  readonly #sipInterval: number;
  readonly #memory: HeldBytes | undefined;
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  /** Bytes that may wait at most; more than highWater only while the import takes nothing. */
  #limit = highWater;
  #ended = false;
  #closed = false;
  #failure: DvcrError | undefined;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  /**
   * `sipInterval`: milliseconds after which a writer that waits in room() is let on a little. `memory` counts what
   * waits.
   */
  constructor(sipInterval: number = defaultSipInterval, memory?: HeldBytes) {
    this.#sipInterval = sipInterval;
    this.#memory = memory;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next bytes; ends after end() or close(), throws what fail() was given. */
  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#closed) return { value: undefined, done: true };
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#count(-chunk.byteLength);
        if (this.#bytes < highWater) {
          this.#limit = highWater;
          this.#wakeWriter?.();
        }
        return { value: chunk, done: false };
      }
      if (this.#ended) return { value: undefined, done: true };
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
  }

  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.close();
    return Promise.resolve({ value: undefined, done: true });
  }

  /** Appends; never waits, so room() is to be asked before. */
  push(chunk: Uint8Array): void {
    if (this.#closed || this.#failure !== undefined) return;
    this.#chunks.push(chunk);
    this.#count(chunk.byteLength);
    this.#wakeReader?.();
  }

  /**
   * Resolves when a chunk may be pushed, or nobody reads any more. Where the memory of all uploads is used up, the
   * next chunk may come once the import has taken the last: who is being imported goes on.
   */
  async room(): Promise<void> {
    while (this.#isFull() && !this.#closed && this.#failure === undefined) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve;
        timer = setTimeout(() => this.stretch(sipBytes), this.#sipInterval);
      });
      clearTimeout(timer);
    }
  }

  /** Lets `bytes` more wait than now, up to a bound, until the import takes some again. */
  stretch(bytes: number): void {
    this.#limit = Math.min(Math.max(this.#limit, this.#bytes) + bytes, highWater + sipsLimit);
    this.#wakeWriter?.();
  }

  /** No bytes follow. */
  end(): void {
    this.#ended = true;
    this.#wakeReader?.();
  }

  /** The reader gets `error` in place of what it has not read yet. */
  fail(error: DvcrError): void {
    this.#failure ??= error;
    this.#drop();
  }

  /** Nobody reads any more. */
  close(): void {
    this.#closed = true;
    this.#drop();
  }

  #isFull(): boolean {
    return this.#bytes >= this.#limit || (this.#bytes > 0 && this.#memory?.hasRoom() === false);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#memory?.count(bytes);
  }

  #drop(): void {
    this.#chunks.length = 0;
    this.#count(-this.#bytes);
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }
}
