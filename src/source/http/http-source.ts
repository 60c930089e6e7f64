import type { Dispatcher } from "undici";

import { DvcrError } from "../../errors/dvcr-error.ts";
import { outboundDispatcher, type ProxySettings } from "../../outbound/dispatcher.ts";
import type { OutboundPolicy } from "../../outbound/policy.ts";
import type { TlsOptions } from "../../outbound/tls.ts";
import { systemClock, type Clock } from "../../retry/clock.ts";
import { FailureError } from "../../retry/failure.ts";
import { Backoff, decide, defaultRetryPolicy, retrying, type RetryEvent, type RetryPolicy } from "../../retry/retry.ts";
import type { OpenSource, Source } from "../source.ts";
import { entityOf, parseContentRange, requireIdentity, sameEntity, type Entity } from "./entity.ts";
import { defaultParallel, inPieces, SlownessWatch, type ParallelOptions } from "./parallel.ts";
import { describe, discard, HttpClient, networkFailure, type HttpAnswer, type HttpClientOptions } from "./request.ts";

export interface HttpSourceOptions extends Omit<HttpClientOptions, "stallTimeoutMs" | "dispatcher"> {
  readonly tls: TlsOptions;
  readonly proxies: ProxySettings;
  readonly stallTimeoutMs?: number;
  readonly policy?: RetryPolicy;
  readonly clock?: Clock;
  readonly onRetry?: (event: RetryEvent) => void;
  /** Told in one line what a person reading the log should know. */
  readonly onNotice?: (text: string) => void;
  readonly parallel?: ParallelOptions;
  /** Missing: every address may be reached. */
  readonly outbound?: OutboundPolicy;
}

const DEFAULT_STALL_MS = 60_000;
/** A name or port that nobody answers on is a typing mistake more often than an outage. */
const FIRST_CONTACT_DEADLINE_MS = 15_000;
const FIRST_CONTACT_CODES = new Set(["ENOTFOUND", "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH"]);

/**
 * A file behind http:// or https://. A broken or stalled connection is continued where it stopped, by Range and If-Range;
 * a file that changed meanwhile is E_SOURCE_CHANGED, never mixed. Where one connection proves to be what limits the
 * import, several ranges are fetched at once.
 *
 * @throws DvcrError E_USAGE for what is no such URL.
 */
export function httpSource(url: string, options: HttpSourceOptions): Source {
  const { target, credentials } = splitUrl(url);
  const all = { ...options, ...(credentials ? { credentials } : {}) };
  let refetchable: boolean | undefined;
  return {
    description: describe(target),
    replayable: false,
    get refetchable() {
      return refetchable;
    },
    open: async (signal) => {
      const dispatcher = await outboundDispatcher(options);
      const download = new Download(target, { ...all, dispatcher }, signal);
      const opened = await download.open().catch(async (error: unknown) => {
        await dispatcher.destroy();
        throw error;
      });
      refetchable = opened.readRange !== undefined;
      return opened;
    },
  };
}

/** An answer to go on with; its first `known` bytes have been delivered already. */
interface Continuation {
  readonly answer: HttpAnswer;
  readonly known: number;
}

/** What is different for a range that is a piece of the stream. */
interface PieceEvents {
  readonly onBytes?: (bytes: number) => void;
  /** True: this failure is final. */
  readonly refuse?: (error: FailureError) => boolean;
}

/** Statuses by which servers refuse more than one connection of a client. */
const ONE_AT_A_TIME = new Set([403, 429, 503]);

/** One pass over the file, with as many connections after each other as it takes. */
class Download {
  readonly #url: URL;
  readonly #client: HttpClient;
  readonly #dispatcher: Dispatcher;
  readonly #abort = new AbortController();
  readonly #signal: AbortSignal;
  readonly #policy: RetryPolicy;
  readonly #clock: Clock;
  readonly #onRetry: ((event: RetryEvent) => void) | undefined;
  readonly #onNotice: (text: string) => void;
  readonly #parallel: ParallelOptions;
  #resolved: URL;
  #entity: Entity = { ranges: false };
  /** Size and a validator are known and the server answers ranges. */
  #resumable = false;
  /** Bytes of the stream, in their turn and ahead of it. */
  #received = 0;

  constructor(url: URL, options: HttpSourceOptions & { readonly dispatcher: Dispatcher }, signal: AbortSignal) {
    this.#url = url;
    this.#dispatcher = options.dispatcher;
    this.#resolved = url;
    this.#client = new HttpClient(url.origin, {
      ...options,
      stallTimeoutMs: options.stallTimeoutMs ?? DEFAULT_STALL_MS,
    });
    this.#signal = AbortSignal.any([signal, this.#abort.signal]);
    this.#policy = options.policy ?? defaultRetryPolicy;
    this.#clock = options.clock ?? systemClock;
    this.#onRetry = options.onRetry;
    this.#onNotice = options.onNotice ?? (() => undefined);
    this.#parallel = options.parallel ?? defaultParallel;
  }

  async open(): Promise<OpenSource> {
    // One GET tells everything: HEAD is refused by presigned URLs and by some servers.
    const first = await retrying(() => this.#get(this.#url, { range: "bytes=0-" }), {
      ...this.#retryOptions(),
      deadlineMs: ({ code }) =>
        code !== undefined && FIRST_CONTACT_CODES.has(code) ? FIRST_CONTACT_DEADLINE_MS : this.#policy.deadlineMs,
    });
    if (first.status === 416) {
      await discard(first.body);
      throw new DvcrError("E_EMPTY", `${describe(this.#url)} is empty`);
    }
    this.#entity = entityOf(first.status, first.headers);
    if (first.status === 206 && promisedRange(first)?.first !== 0) {
      await discard(first.body);
      throw new DvcrError("E_SOURCE_HTTP", `${describe(this.#url)} answers with another range than the one asked for`);
    }
    this.#noteContentType(first);
    const { size } = this.#entity;
    this.#resumable = this.#entity.ranges && this.#entity.validator !== undefined && size !== undefined;
    return {
      ...(size === undefined ? {} : { size }),
      chunks: this.#chunks(first),
      received: () => this.#received,
      ...(this.#resumable
        ? { readRange: (offset: number, length: number) => this.#readRange(offset, length, this.#signal) }
        : {}),
      close: async () => {
        this.#abort.abort(new DvcrError("E_CANCELLED", "the source was closed"));
        first.body.on("error", () => undefined).destroy();
        await this.#dispatcher.destroy();
      },
    };
  }

  async *#chunks(first: HttpAnswer): AsyncGenerator<Uint8Array> {
    const backoff = new Backoff(this.#policy, this.#clock);
    const { size } = this.#entity;
    let offset = 0;
    let next: Continuation | undefined = { answer: first, known: 0 };
    let mayWiden = this.#resumable;
    for (;;) {
      let failure: FailureError;
      let widened = false;
      try {
        next ??= await this.#continueAt(offset);
        const promised = promisedRange(next.answer);
        const watch = mayWiden ? new SlownessWatch(this.#clock, this.#parallel) : undefined;
        for await (const chunk of this.#body(next, watch)) {
          offset += chunk.byteLength;
          this.#checkEnd(offset);
          this.#received = offset;
          backoff.reset();
          yield chunk;
          if (watch?.isSlow() === true && size! - offset > this.#parallel.pieceBytes) {
            widened = true;
            break;
          }
        }
        next = undefined;
        if (widened) {
          mayWiden = false;
          this.#onNotice(
            `one connection is slow: ${String(this.#parallel.connections)} ranges are fetched at once from byte ${String(offset)} on`,
          );
          const fetch = (at: number, length: number, signal: AbortSignal) => this.#readPiece(at, length, signal);
          try {
            for await (const piece of inPieces({ from: offset, size: size! }, this.#parallel, fetch)) {
              offset += piece.byteLength;
              backoff.reset();
              yield piece;
            }
          } finally {
            // What came ahead of a piece that failed is dropped and fetched again.
            this.#received = offset;
          }
        }
        if (size === undefined || offset >= size) return;
        // Some servers give a few megabytes of what was asked for at a time; that is no fault.
        if (promised !== undefined && offset === promised.last + 1) continue;
        failure = new FailureError(
          "E_SOURCE_IO",
          `${describe(this.#url)}: the connection ended after ${offset} of ${size} bytes`,
          { code: "UND_ERR_SOCKET" },
        );
      } catch (error) {
        if (widened && isRefusalOfMore(error) && !this.#signal.aborted) {
          this.#onNotice(
            `the server refuses several connections (${(error as Error).message}); one is used from byte ${String(offset)} on`,
          );
          continue;
        }
        failure = this.#transferFailure(error, offset);
      }
      next = undefined;
      const error = failure;
      const waited = await backoff.wait(this.#signal, {
        retryAfterMs: error.failure.retryAfterMs,
        onWait: (delayMs) => this.#onRetry?.({ error, delayMs }),
      });
      if (!waited) throw error;
    }
  }

  /** What of an answer's body has not been delivered; the connection is closed when the reader leaves early. */
  async *#body({ answer, known }: Continuation, watch: SlownessWatch | undefined): AsyncGenerator<Uint8Array> {
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
      answer.body.on("error", () => undefined).destroy();
    }
  }

  #checkEnd(offset: number): void {
    const { size } = this.#entity;
    if (size !== undefined && offset > size)
      throw new DvcrError(
        "E_SOURCE_HTTP",
        `${describe(this.#url)} sends more than the ${size} bytes that it announced`,
      );
  }

  /** The failure to go on from; rethrows what cannot be mended. */
  #transferFailure(error: unknown, offset: number): FailureError {
    if (this.#signal.aborted) throw error;
    const failed = networkFailure(this.#url, error);
    if (!(failed instanceof FailureError) || decide(failed.failure, "transfer", "source") === "give-up") throw failed;
    if (offset > 0 && this.#entity.validator === undefined) {
      throw new DvcrError(
        "E_SOURCE_IO",
        `${failed.message}; the server gives neither ETag nor Last-Modified, so it cannot be continued after ${offset} bytes`,
        { cause: error },
      );
    }
    return failed;
  }

  /** An answer of the same file, from `offset` or, where the server knows no ranges, from its start again. */
  async #continueAt(offset: number): Promise<Continuation> {
    const answer = await this.#getRange(`bytes=${offset}-`);
    if (answer.status === 206 && promisedRange(answer)?.first === offset && this.#isSame(answer))
      return { answer, known: 0 };
    if (answer.status === 200 && this.#isSame(answer)) return { answer, known: offset };
    throw this.#changed(answer, `after ${offset} bytes had been read`);
  }

  /** `length` bytes from `offset`, gone on with after a cut where it stopped. */
  async #readRange(offset: number, length: number, signal: AbortSignal, piece: PieceEvents = {}): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafe(length);
    let filled = 0;
    await retrying(
      async () => {
        const [first, last] = [offset + filled, offset + length - 1];
        try {
          const answer = await this.#getRange(`bytes=${first}-${last}`, signal);
          const range = promisedRange(answer);
          const fits = answer.status === 206 && range?.first === first && range.last <= last && this.#isSame(answer);
          if (!fits) throw this.#changed(answer, "while it was read");
          for await (const chunk of this.#body({ answer, known: 0 }, undefined)) {
            if (chunk.byteLength > length - filled)
              throw new DvcrError("E_SOURCE_HTTP", `${describe(this.#url)} sends more than the range asked for`);
            bytes.set(chunk, filled);
            filled += chunk.byteLength;
            piece.onBytes?.(chunk.byteLength);
          }
          if (filled < length)
            throw new FailureError("E_SOURCE_IO", `${describe(this.#url)}: the connection ended inside a range`, {
              code: "UND_ERR_SOCKET",
            });
        } catch (error) {
          const failed = networkFailure(this.#url, error);
          // Taken for final, so that the caller hears of it now.
          if (failed instanceof FailureError && piece.refuse?.(failed) === true) throw new RefusedRange(failed);
          throw failed;
        }
      },
      { ...this.#retryOptions(), signal },
    );
    return bytes;
  }

  #readPiece(offset: number, length: number, abandoned: AbortSignal): Promise<Uint8Array> {
    const signal = AbortSignal.any([this.#signal, abandoned]);
    return this.#readRange(offset, length, signal, {
      onBytes: (bytes) => {
        this.#received += bytes;
      },
      refuse: ({ failure }) => failure.status !== undefined && ONE_AT_A_TIME.has(failure.status),
    });
  }

  async #getRange(range: string, signal = this.#signal): Promise<HttpAnswer> {
    const { validator } = this.#entity;
    return await this.#getAgain({ range, ...(validator === undefined ? {} : { "if-range": validator }) }, signal);
  }

  #changed(answer: HttpAnswer, when: string): DvcrError {
    answer.body.on("error", () => undefined).destroy();
    return new DvcrError("E_SOURCE_CHANGED", `${describe(this.#url)} changed ${when}`);
  }

  /** What a server believes to send is a help to people, nothing to go by. */
  #noteContentType(answer: HttpAnswer): void {
    const type = answer.headers["content-type"]?.split(";")[0]?.trim().toLowerCase() ?? "";
    if (/^text\/|^application\/(?:json|xml|xhtml\+xml)$/.test(type))
      this.#onNotice(`${describe(this.#url)} is said to be ${type}, which no disk image is`);
  }

  /** From where the first answer came; when that address has expired, from the URL itself again. */
  async #getAgain(headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<HttpAnswer> {
    try {
      return await this.#get(this.#resolved, headers, signal);
    } catch (error) {
      if (this.#resolved === this.#url || !(error instanceof FailureError)) throw error;
      this.#resolved = this.#url;
      // A refusal comes from an address that has expired; a fault is waited out first.
      if (error.failure.status === undefined) throw error;
      return await this.#get(this.#url, headers, signal);
    }
  }

  async #get(url: URL, headers: Readonly<Record<string, string>>, signal = this.#signal): Promise<HttpAnswer> {
    const answer = await this.#client.get(url, headers, signal);
    requireIdentity(answer.headers, describe(answer.url));
    this.#resolved = answer.url;
    return answer;
  }

  #isSame(answer: HttpAnswer): boolean {
    return sameEntity(this.#entity, entityOf(answer.status, answer.headers));
  }

  #retryOptions() {
    return {
      peer: "source" as const,
      signal: this.#signal,
      policy: this.#policy,
      clock: this.#clock,
      ...(this.#onRetry ? { onRetry: this.#onRetry } : {}),
    };
  }
}

/** A range that is refused while others are under way. */
class RefusedRange extends DvcrError {
  constructor(refusal: FailureError) {
    super(refusal.code, refusal.message, { cause: refusal });
  }
}

function isRefusalOfMore(error: unknown): boolean {
  return error instanceof RefusedRange;
}

/** The range that an answer says it carries. */
function promisedRange(answer: HttpAnswer) {
  return answer.status === 206 ? parseContentRange(answer.headers["content-range"]) : undefined;
}

function splitUrl(text: string) {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== "http:" && url.protocol !== "https:"))
    throw new DvcrError("E_USAGE", "the source is not an http:// or https:// URL");
  const credentials =
    url.username === "" && url.password === ""
      ? undefined
      : { username: unescaped(url.username), password: unescaped(url.password) };
  url.username = "";
  url.password = "";
  url.hash = "";
  return { target: url, credentials };
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new DvcrError("E_USAGE", "the user or password in the source's URL is not percent-encoded as it should be");
  }
}
