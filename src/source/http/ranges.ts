import { DvcrError } from "../../errors/dvcr-error.ts";
import type { Clock } from "../../retry/clock.ts";
import { FailureError } from "../../retry/failure.ts";
import { decide, retrying, type RetryEvent, type RetryPolicy } from "../../retry/retry.ts";
import { drop, promisedRange, type RemoteFile } from "./remote-file.ts";
import { networkFailure, type TimeLimits } from "./request.ts";

/**
 * What is asked for beyond the one connection that brings the file is answered within this time (milliseconds), or done
 * without.
 */
const EXTRA_LIMITS: TimeLimits = { firstByteMs: 10_000, stallMs: 10_000 };
const EXTRA_POLICY: RetryPolicy = { firstDelayMs: 300, factor: 3, maxDelayMs: 3000, jitter: 0.1, deadlineMs: 4000 };
/** Statuses by which servers refuse more than one connection of a client. */
const ONE_AT_A_TIME = new Set([403, 429, 503]);

export interface RangeOptions {
  readonly policy: RetryPolicy;
  readonly clock: Clock;
  readonly onRetry: ((event: RetryEvent) => void) | undefined;
  readonly onNotice: (text: string) => void;
}

interface FetchOptions {
  readonly signal: AbortSignal;
  /** Told of the bytes as they come. */
  readonly onBytes?: (bytes: number) => void;
}

/**
 * Ranges of a file while its stream is under way. They are extra: servers that give each request another ETag, links
 * good for one request, limits of one connection, or one request at a time are met in the field, and curl passes them
 * all. So the first range that fails ends them, and the stream goes on without.
 */
export class ExtraRanges {
  readonly #file: RemoteFile;
  readonly #options: RangeOptions;
  #offered: boolean;

  constructor(file: RemoteFile, options: RangeOptions) {
    this.#file = file;
    this.#options = options;
    this.#offered = file.offersRanges;
  }

  /** False once one has failed. */
  get offered(): boolean {
    return this.#offered;
  }

  /**
   * `length` bytes from `offset`; nothing where the server turns out not to give them. Throws where `signal` is
   * aborted.
   */
  async read(offset: number, length: number, options: FetchOptions): Promise<Uint8Array | undefined> {
    if (!this.#offered) return undefined;
    try {
      return await this.#fetch(offset, length, {
        ...options,
        limits: EXTRA_LIMITS,
        policy: EXTRA_POLICY,
        isFinal: (error) => isRefusalOfMore(error) || error.failure.code === "UND_ERR_HEADERS_TIMEOUT",
      });
    } catch (error) {
      if (options.signal.aborted) throw error;
      this.#end(error);
      return undefined;
    }
  }

  /**
   * `length` bytes from `offset` of a server that has proved to give ranges, tried again for as long as the stream
   * itself.
   *
   * @throws DvcrError; RefusedRange where the server wants fewer connections.
   */
  async insist(offset: number, length: number, options: FetchOptions): Promise<Uint8Array> {
    return await this.#fetch(offset, length, { ...options, policy: this.#options.policy, isFinal: isRefusalOfMore });
  }

  #end(error: unknown): void {
    if (!this.#offered) return;
    this.#offered = false;
    const why = error instanceof Error ? error.message : String(error);
    this.#options.onNotice(`the server gives no ranges while the file is read (${why}); it is read in one go`);
  }

  async #fetch(
    offset: number,
    length: number,
    how: FetchOptions & {
      readonly policy: RetryPolicy;
      readonly limits?: TimeLimits;
      readonly isFinal: (error: FailureError) => boolean;
    },
  ): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafe(length);
    const last = offset + length - 1;
    let filled = 0;
    const fill = async () => {
      while (filled < length) {
        const answer = await this.#file.range(offset + filled, last, how.signal, how.limits);
        const end = promisedRange(answer)!.last + 1 - offset;
        try {
          for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
            if (chunk.byteLength > end - filled)
              throw new DvcrError("E_SOURCE_HTTP", `${this.#file.description} sends more than the range it announced`);
            bytes.set(chunk, filled);
            filled += chunk.byteLength;
            how.onBytes?.(chunk.byteLength);
          }
        } finally {
          drop(answer);
        }
        // An answer that holds less than was asked for is no fault; one that ends before its own end is.
        if (filled < end)
          throw new FailureError("E_SOURCE_IO", `${this.#file.description}: the connection ended inside a range`, {
            code: "UND_ERR_SOCKET",
          });
      }
    };
    const attempt = async () => {
      try {
        await fill();
      } catch (error) {
        const failed = networkFailure(this.#file.url, error);
        // Taken for final, so that the caller hears of it now.
        if (failed instanceof FailureError && how.isFinal(failed))
          throw new RefusedRange(failed.code, failed.message, { cause: failed });
        throw failed;
      }
    };
    const { clock, onRetry } = this.#options;
    const { signal, policy } = how;
    await retrying(attempt, { peer: "source", signal, policy, clock, ...(onRetry ? { onRetry } : {}) });
    return bytes;
  }
}

/** A range that is refused while others are under way: one connection alone may still bring the file. */
export class RefusedRange extends DvcrError {}

/**
 * True where a range failed in a way that one connection alone may not: it is refused now, or for good.
 */
function isRefusalOfMore(error: FailureError): boolean {
  const { status } = error.failure;
  if (status === undefined) return false;
  return ONE_AT_A_TIME.has(status) || decide(error.failure, "request", "source") === "give-up";
}
