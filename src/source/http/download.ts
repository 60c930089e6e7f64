import { DvcrError } from "../../errors/dvcr-error.ts";
import type { Clock } from "../../retry/clock.ts";
import { FailureError } from "../../retry/failure.ts";
import { Backoff, decide, retrying, type RetryEvent, type RetryPolicy } from "../../retry/retry.ts";
import { PieceWindow, SlownessWatch, type ParallelOptions } from "./parallel.ts";
import { ExtraRanges, RefusedRange } from "./ranges.ts";
import { drop, promisedRange, type Continuation, type RemoteFile } from "./remote-file.ts";
import { networkFailure, type HttpAnswer } from "./request.ts";

export interface DownloadOptions {
  readonly policy: RetryPolicy;
  readonly clock: Clock;
  readonly onRetry: ((event: RetryEvent) => void) | undefined;
  readonly onNotice: (text: string) => void;
  readonly parallel: ParallelOptions;
}

/** A name or port that nobody answers on is a typing mistake more often than an outage. */
const FIRST_CONTACT_DEADLINE_MS = 15_000;
const FIRST_CONTACT_CODES = new Set([
  "ENOTFOUND",
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** One pass over a file, with as many connections after each other as it takes. */
export class Download {
  readonly #file: RemoteFile;
  readonly #signal: AbortSignal;
  readonly #options: DownloadOptions;
  #first: HttpAnswer | undefined;
  #ranges: ExtraRanges | undefined;
  /** Bytes of the stream that were delivered. */
  #offset = 0;
  #mayWiden = false;
  /** Brings the rest once one connection has proved to be slow. */
  #pieces: PieceWindow | undefined;

  constructor(file: RemoteFile, signal: AbortSignal, options: DownloadOptions) {
    this.#file = file;
    this.#signal = signal;
    this.#options = options;
  }

  /** Sends the first request. Throws DvcrError. */
  async open(): Promise<void> {
    const { policy, clock, onRetry } = this.#options;
    this.#first = await retrying(() => this.#file.open(this.#signal), {
      peer: "source",
      signal: this.#signal,
      policy,
      clock,
      ...(onRetry ? { onRetry } : {}),
      // Who takes a connection and is silent for all of the time to the first byte is not waited for twice.
      deadlineMs: ({ code = "" }) =>
        code === "UND_ERR_HEADERS_TIMEOUT"
          ? 0
          : FIRST_CONTACT_CODES.has(code)
            ? FIRST_CONTACT_DEADLINE_MS
            : policy.deadlineMs,
    });
    this.#ranges = new ExtraRanges(this.#file, this.#options);
    this.#mayWiden = this.#ranges.offered;
  }

  /** Ranges beside the stream, where the server offers them. */
  get ranges(): ExtraRanges | undefined {
    return this.#ranges?.offered === true ? this.#ranges : undefined;
  }

  /** Bytes of the stream that have come, in their turn and ahead of it. */
  get received(): number {
    return this.#offset + (this.#pieces?.ahead ?? 0);
  }

  /** The file in order, gone on with after a cut or a stall. Throws DvcrError. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    const backoff = new Backoff(this.#options.policy, this.#options.clock);
    let next: Continuation | undefined = this.#first && { answer: this.#first, known: 0 };
    for (;;) {
      let failure: FailureError | undefined;
      try {
        next ??= await this.#file.continueAt(this.#offset, this.#signal);
        const promised = promisedRange(next.answer);
        for await (const chunk of this.#deliver(next)) {
          backoff.reset();
          yield chunk;
        }
        const { size } = this.#file;
        if (size === undefined || this.#offset >= size) return;
        // Some servers give a few megabytes of what was asked for at a time; that is no fault.
        if (promised === undefined || this.#offset !== promised.last + 1) failure = this.#cut(size);
      } catch (error) {
        if (error instanceof RefusedRange && !this.#signal.aborted)
          this.#options.onNotice(
            `the server refuses several connections (${error.message}); one is used from byte ` +
              `${String(this.#offset)} on`,
          );
        else failure = this.#transferFailure(error);
      }
      next = undefined;
      if (failure === undefined) continue;
      const error = failure;
      const waited = await backoff.wait(this.#signal, {
        retryAfterMs: error.failure.retryAfterMs,
        onWait: (delayMs) => this.#options.onRetry?.({ error, delayMs }),
      });
      if (!waited) throw error;
    }
  }

  /** Ends the connection that open() made. */
  close(): void {
    if (this.#first) drop(this.#first);
  }

  /**
   * What `connection` brings. Where it is slow, pieces of the rest are fetched too; once one is there, they bring all.
   */
  async *#deliver(connection: Continuation): AsyncGenerator<Uint8Array> {
    const { clock, parallel, onNotice } = this.#options;
    const watch = this.#mayWiden ? new SlownessWatch(clock, parallel) : undefined;
    let trial: PieceWindow | undefined;
    try {
      for await (const chunk of body(connection, watch)) {
        yield this.#admit(chunk);
        if (trial !== undefined) {
          if (this.#ranges?.offered !== true) {
            await trial.close();
            trial = undefined;
          } else if (trial.takeOver(this.#offset)) break;
          else trial.fill(parallel.connections - 1);
        } else if (this.#mayWiden && watch?.isSlow() === true) trial = this.#tryPieces();
      }
      if (trial?.takeOver(this.#offset) !== true) return;
      onNotice(
        `one connection is slow: ${String(parallel.connections)} ranges are fetched at once from ` +
          `byte ${String(this.#offset)} on`,
      );
      this.#pieces = trial;
      for await (const piece of trial.rest()) yield this.#admit(piece);
    } finally {
      // What came ahead of a piece that failed is dropped and fetched again.
      this.#pieces = undefined;
      await trial?.close();
    }
  }

  /** Begins to fetch what the slow connection would bring later; nothing where little is left. */
  #tryPieces(): PieceWindow | undefined {
    const { parallel } = this.#options;
    const [size, from] = [this.#file.size!, this.#offset + parallel.pieceBytes];
    if (from >= size) return undefined;
    this.#mayWiden = false;
    const trial = new PieceWindow({ from, size }, parallel, async (offset, length, { signal, onBytes }) => {
      const options = { signal: AbortSignal.any([this.#signal, signal]), onBytes };
      if (this.#pieces !== undefined) return await this.#ranges!.insist(offset, length, options);
      const bytes = await this.#ranges!.read(offset, length, options);
      if (bytes === undefined) throw new RefusedRange("E_SOURCE_IO", "a range failed");
      return bytes;
    });
    trial.fill(parallel.connections - 1);
    return trial;
  }

  #admit(chunk: Uint8Array): Uint8Array {
    const { size, description } = this.#file;
    this.#offset += chunk.byteLength;
    if (size !== undefined && this.#offset > size)
      throw new DvcrError("E_SOURCE_HTTP", `${description} sends more than the ${size} bytes that it announced`);
    return chunk;
  }

  #cut(size: number): FailureError {
    return new FailureError(
      "E_SOURCE_IO",
      `${this.#file.description}: the connection ended after ${this.#offset} of ${size} bytes`,
      { code: "UND_ERR_SOCKET" },
    );
  }

  /** The failure to go on from; rethrows what trying again cannot help. */
  #transferFailure(error: unknown): FailureError {
    if (this.#signal.aborted) throw error;
    const failed = networkFailure(this.#file.url, error);
    if (!(failed instanceof FailureError) || decide(failed.failure, "transfer", "source") === "give-up") throw failed;
    if (this.#offset > 0 && !this.#file.hasValidator) {
      throw new DvcrError(
        "E_SOURCE_IO",
        `${failed.message}; the server gives neither ETag nor Last-Modified, so it cannot be ` +
          `continued after ${this.#offset} bytes`,
        { cause: error },
      );
    }
    return failed;
  }
}

/** What of an answer's body has not been delivered; the connection is closed when the reader leaves early. */
async function* body({ answer, known }: Continuation, watch: SlownessWatch | undefined): AsyncGenerator<Uint8Array> {
  const iterator = (answer.body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  let skip = known;
  try {
    for (;;) {
      const next = iterator.next();
      const result = watch ? await watch.waitFor(next) : await next;
      if (result.done === true) return;
      const fresh = result.value.subarray(Math.min(skip, result.value.byteLength));
      skip -= result.value.byteLength - fresh.byteLength;
      if (fresh.byteLength > 0) yield fresh;
    }
  } finally {
    drop(answer);
  }
}
