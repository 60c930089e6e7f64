import type { IncomingHttpHeaders } from "node:http";
import { request as undiciRequest, type Dispatcher } from "undici";

import { DvcrError } from "../../errors/dvcr-error.ts";
import { FailureError, isTlsCode, networkCode, retryAfterMs } from "../../retry/failure.ts";
import { redirectTarget } from "./location.ts";

const MAX_REDIRECTS = 10;
const REDIRECT_STATUSES = new Set([301, 302, 303, 307, 308]);
const USER_AGENT = "dvcr-data-plane";

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Dispatcher.ResponseData["body"];
  /** Where the answer came from, after redirects. */
  readonly url: URL;
}

export interface HttpClientOptions {
  readonly dispatcher: Dispatcher;
  /** Sent to the source's own origin only. */
  readonly credentials?: { readonly username: string; readonly password: string };
  /** Sent to the source's own origin only. */
  readonly headers: Readonly<Record<string, string>>;
  readonly limits: TimeLimits;
}

/** In milliseconds. */
export interface TimeLimits {
  /** From a request to the first byte of its answer. */
  readonly firstByteMs: number;
  /** Without a byte inside a body: the connection then counts as dead. */
  readonly stallMs: number;
}

/**
 * GETs with the rules a source needs: bounded redirects that never leak secrets, identity coding, errors by the
 * catalogue.
 */
export class HttpClient {
  readonly #options: HttpClientOptions;
  readonly #origin: string;
  readonly #authorization: string | undefined;

  /** `origin` is the one that credentials and extra headers belong to. */
  constructor(origin: string, options: HttpClientOptions) {
    this.#options = options;
    this.#origin = origin;
    const { credentials } = options;
    this.#authorization =
      credentials && `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64")}`;
  }

  /**
   * One GET, redirects followed, each within `limits`. Throws FailureError for network faults and for every status but
   * 200 and 206.
   */
  async get(
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    limits: TimeLimits = this.#options.limits,
  ): Promise<HttpAnswer> {
    let target = url;
    for (let hops = 0; ; hops += 1) {
      const answer = await this.#send(target, headers, signal, limits);
      if (!REDIRECT_STATUSES.has(answer.status)) return await checked(answer);
      await discard(answer.body);
      if (hops === MAX_REDIRECTS)
        throw new DvcrError("E_SOURCE_HTTP", `${describe(url)} redirects more than ${MAX_REDIRECTS} times`);
      target = redirectTarget(answer.headers.location, answer.url, describe(answer.url));
    }
  }

  async #send(
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    limits: TimeLimits,
  ): Promise<HttpAnswer> {
    const own = url.origin === this.#origin;
    try {
      const {
        statusCode,
        headers: received,
        body,
      } = await undiciRequest(url, {
        dispatcher: this.#options.dispatcher,
        signal,
        headersTimeout: limits.firstByteMs,
        bodyTimeout: limits.stallMs,
        headers: {
          "user-agent": USER_AGENT,
          accept: "*/*",
          "accept-encoding": "identity",
          ...(own ? this.#options.headers : {}),
          ...(own && this.#authorization !== undefined ? { authorization: this.#authorization } : {}),
          ...headers,
        },
      });
      return { status: statusCode, headers: received, body, url };
    } catch (error) {
      if (signal.aborted) throw error;
      throw networkCode(error) === "UND_ERR_HEADERS_TIMEOUT"
        ? silence(url, limits.firstByteMs, error)
        : networkFailure(url, error);
    }
  }
}

function silence(url: URL, waitedMs: number, cause: unknown): FailureError {
  return new FailureError(
    "E_SOURCE_IO",
    `${describe(url)} took the request and answered nothing for ${String(waitedMs / 1000)} seconds`,
    { code: "UND_ERR_HEADERS_TIMEOUT" },
    {
      cause,
      fix:
        "Check the URL. Where the server needs longer to prepare the file, allow it: --first-byte-timeout, " +
        "DVCR_FIRST_BYTE_TIMEOUT of a pod, firstByteSeconds in the configuration of the images service.",
    },
  );
}

/** A network error as a FailureError: untrusted certificates are final, everything else is for the retry table. */
export function networkFailure(url: URL, error: unknown): DvcrError {
  if (error instanceof DvcrError) return error;
  const code = networkCode(error) ?? "UND_ERR_SOCKET";
  const text = error instanceof Error ? error.message : String(error);
  const errorCode = isTlsCode(code) ? "E_SOURCE_TLS" : code === "ENOTFOUND" ? "E_SOURCE_NOT_FOUND" : "E_SOURCE_IO";
  return new FailureError(errorCode, `${describe(url)}: ${text} (${code})`, { code }, { cause: error });
}

/** A URL for people and logs: no credentials, no query string (presigned URLs carry secrets there). */
export function describe(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** Reads and drops a body so that its connection can be used again. */
export async function discard(body: HttpAnswer["body"]): Promise<void> {
  await body.dump().catch(() => undefined);
}

async function checked(answer: HttpAnswer): Promise<HttpAnswer> {
  const { status } = answer;
  if (status === 200 || status === 206) return answer;
  await discard(answer.body);
  const code =
    status === 401 || status === 403
      ? "E_SOURCE_DENIED"
      : status === 404 || status === 410
        ? "E_SOURCE_NOT_FOUND"
        : status === 408 || status === 429 || status >= 500
          ? "E_SOURCE_IO"
          : "E_SOURCE_HTTP";
  const wait = retryAfterMs(answer.headers["retry-after"]);
  throw new FailureError(code, `${describe(answer.url)} answers ${status}`, {
    status,
    ...(wait === undefined ? {} : { retryAfterMs: wait }),
  });
}
