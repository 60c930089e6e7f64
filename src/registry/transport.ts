/**
 * Single HTTP exchanges with a registry: connections, stall limits, bounded bodies, redirects. No retries, no tokens.
 */
import type { Readable } from "node:stream";
import { request, type Dispatcher } from "undici";
import type { IncomingHttpHeaders } from "undici/types/header.d.ts";
import { outboundDispatcher, type ProxySettings } from "../outbound/dispatcher.ts";
import type { OutboundPolicy } from "../outbound/policy.ts";
import { describe, RegistryError, type Exchange } from "./errors.ts";
import { resolveLocation, type RedirectRules } from "./redirects.ts";
import type { TlsOptions } from "../outbound/tls.ts";

export type Headers = Record<string, string>;
/** Made anew for every try. */
export type BodyFactory = () => AsyncIterable<Uint8Array> | Uint8Array;

export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PATCH" | "PUT" | "DELETE";
  readonly url: URL;
  readonly headers?: Headers;
  readonly body?: BodyFactory;
  /** Milliseconds from the last byte sent to the answer's head; default: the stall limit. */
  readonly answerTimeoutMs?: number;
  readonly signal: AbortSignal;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readable;
  /** Where the answer came from, after redirects. */
  readonly url: URL;
}

export interface TransportOptions {
  readonly tls: TlsOptions;
  /** A connection on which nothing moves for this long is dead. */
  readonly stallTimeoutMs?: number;
  /** Missing: every address may be reached. */
  readonly outbound?: OutboundPolicy;
  /** Missing: no proxy. */
  readonly proxies?: ProxySettings;
}

const defaultStallTimeoutMs = 60_000;
const connectTimeoutMs = 15_000;
const maxRedirects = 10;
const userAgent = "dvcr-data-plane";

export class Transport {
  readonly #options: TransportOptions;
  #agent: Promise<Dispatcher> | undefined;

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  /** One request, one answer of any status. Throws what undici throws. */
  async send(spec: HttpRequest): Promise<HttpResponse> {
    this.#agent ??= outboundDispatcher({ ...this.#options, connectTimeoutMs });
    const stall = this.#options.stallTimeoutMs ?? defaultStallTimeoutMs;
    const { statusCode, headers, body } = await request(spec.url, {
      dispatcher: await this.#agent,
      method: spec.method,
      headers: { "user-agent": userAgent, ...spec.headers },
      // undici takes any async iterable, its types name Readable only.
      body: (spec.body?.() ?? null) as Readable | Uint8Array | null,
      headersTimeout: spec.answerTimeoutMs ?? stall,
      bodyTimeout: stall,
      signal: spec.signal,
    });
    // An answer that nobody reads on to its end may fail later; whoever reads sees it, nobody else must.
    body.on("error", () => {});
    return { status: statusCode, headers, body, url: spec.url };
  }

  /**
   * As send(), following redirects: all of GET and HEAD, of other methods those that keep the method and the body,
   * which is made anew. `authorize` returns the headers for the origins that may see them.
   */
  async sendFollowing(
    spec: HttpRequest,
    exchange: Exchange,
    rules: RedirectRules,
    authorize: (url: URL) => Headers,
  ): Promise<HttpResponse> {
    const followed = spec.method === "GET" || spec.method === "HEAD" ? [301, 302, 303, 307, 308] : [307, 308];
    let url = spec.url;
    for (let redirects = 0; ; redirects++) {
      const response = await this.send({ ...spec, url, headers: { ...spec.headers, ...authorize(url) } });
      const location = header(response.headers, "location");
      if (!followed.includes(response.status) || location === undefined) return response;
      await discard(response);
      if (redirects === maxRedirects) {
        throw new RegistryError(
          "E_REGISTRY_REFUSED",
          `${describe(exchange)}: more than ${String(maxRedirects)} redirects`,
          {},
        );
      }
      url = resolveLocation(location, url, rules, exchange);
    }
  }

  async close(): Promise<void> {
    await (await this.#agent)?.destroy();
  }
}

/** One header's value; the first where it came more than once. */
export function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : value?.[0];
}

/** At most `limit` bytes of the body as text; the rest is dropped with the connection. For errors. */
export async function readText(response: HttpResponse, limit = 64 * 1024): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  try {
    for await (const part of response.body as AsyncIterable<Buffer>) {
      parts.push(part);
      length += part.length;
      if (length >= limit) break;
    }
  } catch {
    // What came of an error's text is better than none.
  }
  return Buffer.concat(parts).subarray(0, limit).toString("utf8");
}

/** The whole body. @throws RegistryError E_REGISTRY_REFUSED where it is longer than `limit` bytes. */
export async function readBytes(response: HttpResponse, limit: number, exchange: Exchange): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response.body as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > limit) {
      throw new RegistryError(
        "E_REGISTRY_REFUSED",
        `${describe(exchange)}: the answer is longer than ${String(limit)} bytes`,
        {},
      );
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Reads a short body to its end so that the connection can be used again. */
export async function discard(response: HttpResponse): Promise<void> {
  await readText(response);
}
