import type { Dispatcher } from "undici";

import { DvcrError } from "../../errors/dvcr-error.ts";
import type { TlsOptions } from "../../registry/tls.ts";
import { systemClock, type Clock } from "../../retry/clock.ts";
import { FailureError } from "../../retry/failure.ts";
import { Backoff, decide, defaultRetryPolicy, retrying, type RetryEvent, type RetryPolicy } from "../../retry/retry.ts";
import type { OpenSource, Source } from "../source.ts";
import { sourceDispatcher, type ProxySettings } from "./dispatcher.ts";
import { entityOf, parseContentRange, requireIdentity, sameEntity, type Entity } from "./entity.ts";
import { describe, discard, HttpClient, networkFailure, type HttpAnswer, type HttpClientOptions } from "./request.ts";

export interface HttpSourceOptions extends Omit<HttpClientOptions, "stallTimeoutMs" | "dispatcher"> {
  readonly tls: TlsOptions;
  readonly proxies: ProxySettings;
  readonly stallTimeoutMs?: number;
  readonly policy?: RetryPolicy;
  readonly clock?: Clock;
  readonly onRetry?: (event: RetryEvent) => void;
}

const DEFAULT_STALL_MS = 60_000;
/** A name or port that nobody answers on is a typing mistake more often than an outage. */
const FIRST_CONTACT_DEADLINE_MS = 15_000;
const FIRST_CONTACT_CODES = new Set(["ENOTFOUND", "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH"]);

/**
 * A file behind http:// or https://. A broken or stalled connection is continued where it stopped, by Range and If-Range;
 * a file that changed meanwhile is E_SOURCE_CHANGED, never mixed.
 *
 * @throws DvcrError E_USAGE for what is no such URL.
 */
export function httpSource(url: string, options: HttpSourceOptions): Source {
  const { target, credentials } = splitUrl(url);
  const all = { ...options, ...(credentials ? { credentials } : {}) };
  let refetchable = false;
  return {
    description: describe(target),
    replayable: false,
    get refetchable() {
      return refetchable;
    },
    open: async (signal) => {
      const dispatcher = await sourceDispatcher(options.tls, options.proxies);
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
  #resolved: URL;
  #entity: Entity = { ranges: false };

  constructor(url: URL, options: HttpSourceOptions & { readonly dispatcher: Dispatcher }, signal: AbortSignal) {
    this.#url = url;
    this.#dispatcher = options.dispatcher;
    this.#resolved = url;
    this.#client = new HttpClient(url.origin, { ...options, stallTimeoutMs: options.stallTimeoutMs ?? DEFAULT_STALL_MS });
    this.#signal = AbortSignal.any([signal, this.#abort.signal]);
    this.#policy = options.policy ?? defaultRetryPolicy;
    this.#clock = options.clock ?? systemClock;
    this.#onRetry = options.onRetry;
  }

  async open(): Promise<OpenSource> {
    // One GET tells everything: HEAD is refused by presigned URLs and by some servers.
    const first = await retrying(() => this.#get(this.#url, { range: "bytes=0-" }), {
      ...this.#retryOptions(),
      deadlineMs: ({ code }) => (code !== undefined && FIRST_CONTACT_CODES.has(code) ? FIRST_CONTACT_DEADLINE_MS : this.#policy.deadlineMs),
    });
    if (first.status === 416) {
      await discard(first.body);
      throw new DvcrError("E_EMPTY", `${describe(this.#url)} is empty`);
    }
    this.#entity = entityOf(first.status, first.headers);
    const { size } = this.#entity;
    const resumable = this.#entity.ranges && this.#entity.validator !== undefined && size !== undefined;
    return {
      ...(size === undefined ? {} : { size }),
      chunks: this.#chunks(first),
      ...(resumable ? { readRange: (offset: number, length: number) => this.#readRange(offset, length) } : {}),
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
    let failure: FailureError;
    for (;;) {
      try {
        next ??= await this.#continueAt(offset);
        let { known } = next;
        for await (const chunk of next.answer.body as AsyncIterable<Uint8Array>) {
          const fresh = chunk.subarray(Math.min(known, chunk.byteLength));
          known -= chunk.byteLength - fresh.byteLength;
          if (fresh.byteLength === 0) continue;
          offset += fresh.byteLength;
          backoff.reset();
          yield fresh;
        }
        if (size === undefined || offset >= size) return;
        failure = new FailureError("E_SOURCE_IO", `${describe(this.#url)}: the connection ended after ${offset} of ${size} bytes`, { code: "UND_ERR_SOCKET" });
      } catch (error) {
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

  /** The failure to go on from; rethrows what cannot be mended. */
  #transferFailure(error: unknown, offset: number): FailureError {
    if (this.#signal.aborted) throw error;
    const failed = networkFailure(this.#url, error);
    if (!(failed instanceof FailureError) || decide(failed.failure, "transfer", "source") === "give-up") throw failed;
    if (offset > 0 && this.#entity.validator === undefined) {
      throw new DvcrError("E_SOURCE_IO", `${failed.message}; the server gives neither ETag nor Last-Modified, so it cannot be continued after ${offset} bytes`, { cause: error });
    }
    return failed;
  }

  /** An answer of the same file, from `offset` or, where the server knows no ranges, from its start again. */
  async #continueAt(offset: number): Promise<Continuation> {
    const { validator } = this.#entity;
    const conditions = validator === undefined ? {} : { "if-range": validator };
    const answer = await this.#getAgain({ range: `bytes=${offset}-`, ...conditions });
    if (answer.status === 206 && parseContentRange(answer.headers["content-range"])?.first === offset && this.#isSame(answer)) return { answer, known: 0 };
    if (answer.status === 200 && this.#isSame(answer)) return { answer, known: offset };
    await discard(answer.body);
    throw new DvcrError("E_SOURCE_CHANGED", `${describe(this.#url)} changed after ${offset} bytes had been read`);
  }

  async #readRange(offset: number, length: number): Promise<Uint8Array> {
    const last = offset + length - 1;
    return await retrying(async () => {
      const answer = await this.#getAgain({ range: `bytes=${offset}-${last}`, "if-range": this.#entity.validator! });
      const range = parseContentRange(answer.headers["content-range"]);
      if (answer.status !== 206 || range?.first !== offset || range.last !== last || !this.#isSame(answer)) {
        await discard(answer.body);
        throw new DvcrError("E_SOURCE_CHANGED", `${describe(this.#url)} changed while it was read`);
      }
      try {
        return await collect(answer, length);
      } catch (error) {
        throw networkFailure(this.#url, error);
      }
    }, this.#retryOptions());
  }

  /** From where the first answer came; when that address has expired, from the URL itself again. */
  async #getAgain(headers: Readonly<Record<string, string>>): Promise<HttpAnswer> {
    try {
      return await this.#get(this.#resolved, headers);
    } catch (error) {
      if (this.#resolved === this.#url || !(error instanceof FailureError) || error.failure.status === undefined) throw error;
      this.#resolved = this.#url;
      return await this.#get(this.#url, headers);
    }
  }

  async #get(url: URL, headers: Readonly<Record<string, string>>): Promise<HttpAnswer> {
    const answer = await this.#client.get(url, headers, this.#signal);
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

async function collect(answer: HttpAnswer, length: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of answer.body as AsyncIterable<Uint8Array>) {
    total += part.byteLength;
    if (total > length) throw new Error("the server sent more than the range asked for");
    parts.push(part);
  }
  if (total < length) throw new Error("the connection ended inside a range");
  return Buffer.concat(parts);
}

function splitUrl(text: string) {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== "http:" && url.protocol !== "https:")) throw new DvcrError("E_USAGE", "the source is not an http:// or https:// URL");
  const credentials = url.username === "" && url.password === "" ? undefined : { username: decodeURIComponent(url.username), password: decodeURIComponent(url.password) };
  url.username = "";
  url.password = "";
  url.hash = "";
  return { target: url, credentials };
}
