import type { IncomingHttpHeaders } from "node:http";
import { request as undiciRequest, type Dispatcher } from "undici";

import { DvcrError } from "../../errors/dvcr-error.ts";
import { FailureError, isTlsCode, networkCode, retryAfterMs } from "../../retry/failure.ts";

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
  /** Milliseconds without a byte after which a connection counts as dead. */
  readonly stallTimeoutMs: number;
}

/** GETs with the rules a source needs: bounded redirects that never leak secrets, identity coding, errors by the catalogue. */
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
   * One GET, redirects followed. Throws FailureError for network faults and for every status but 200, 206 and 416.
   */
  async get(url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<HttpAnswer> {
    let target = url;
    for (let hops = 0; ; hops += 1) {
      const answer = await this.#send(target, headers, signal);
      if (!REDIRECT_STATUSES.has(answer.status)) return await checked(answer);
      await discard(answer.body);
      if (hops === MAX_REDIRECTS)
        throw new DvcrError("E_SOURCE_HTTP", `${describe(url)} redirects more than ${MAX_REDIRECTS} times`);
      target = redirectTarget(answer);
    }
  }

  async #send(url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<HttpAnswer> {
    const own = url.origin === this.#origin;
    try {
      const {
        statusCode,
        headers: received,
        body,
      } = await undiciRequest(url, {
        dispatcher: this.#options.dispatcher,
        signal,
        headersTimeout: this.#options.stallTimeoutMs,
        bodyTimeout: this.#options.stallTimeoutMs,
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
      throw networkFailure(url, error);
    }
  }
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
  if (status === 200 || status === 206 || status === 416) return answer;
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

function redirectTarget(answer: HttpAnswer): URL {
  const { location } = answer.headers;
  const from = describe(answer.url);
  if (location === undefined || !URL.canParse(location, answer.url.href)) {
    throw new DvcrError("E_SOURCE_HTTP", `${from} redirects without saying where to`);
  }
  const target = new URL(location, answer.url);
  if (target.protocol !== "https:" && target.protocol !== "http:") {
    throw new DvcrError("E_SOURCE_HTTP", `${from} redirects to a ${target.protocol} address`);
  }
  if (answer.url.protocol === "https:" && target.protocol === "http:") {
    throw new DvcrError("E_SOURCE_HTTP", `${from} redirects from https to http, which is refused`);
  }
  // Credentials inside a redirect are the server's, not the user's: they are not used.
  target.username = "";
  target.password = "";
  return target;
}
