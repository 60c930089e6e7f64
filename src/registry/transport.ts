/** Single HTTP exchanges with a registry: connections, stall limits, bounded bodies, redirects. No retries, no tokens. */
import { BlockList, isIP } from "node:net";
import type { Readable } from "node:stream";
import { request, type Dispatcher } from "undici";
import type { IncomingHttpHeaders } from "undici/types/header.d.ts";
import { outboundDispatcher, type ProxySettings } from "../outbound/dispatcher.ts";
import type { OutboundPolicy } from "../outbound/policy.ts";
import { describe, RegistryError, type Exchange } from "./errors.ts";
import type { TlsOptions } from "./tls.ts";

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

  /** As send(), following redirects of GET and HEAD. `authorize` gives the headers for the origins that may see them. */
  async sendFollowing(spec: HttpRequest, exchange: Exchange, authorize: (url: URL) => Headers): Promise<HttpResponse> {
    let url = spec.url;
    for (let redirects = 0; ; redirects++) {
      const response = await this.send({ ...spec, url, headers: { ...spec.headers, ...authorize(url) } });
      const location = header(response.headers, "location");
      if (![301, 302, 303, 307, 308].includes(response.status) || location === undefined) return response;
      await discard(response);
      if (redirects === maxRedirects) {
        throw new RegistryError(
          "E_REGISTRY_REFUSED",
          `${describe(exchange)}: more than ${String(maxRedirects)} redirects`,
          {},
        );
      }
      url = resolveLocation(location, url, spec.url, exchange);
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

/**
 * A Location resolved against the URL it came from. The registry's own host keeps the registry's scheme and port even
 * where a proxy in front of it made it forget its https. Elsewhere https never becomes http, and another host may not
 * be an address inside a private network, which a public registry has no business with.
 *
 * @throws RegistryError E_REGISTRY_REFUSED.
 */
export function resolveLocation(location: string, from: URL, registry: URL, exchange: Exchange): URL {
  const refuse = (reason: string) => new RegistryError("E_REGISTRY_REFUSED", `${describe(exchange)}: ${reason}`, {});
  if (!URL.canParse(location, from.href)) throw refuse("the Location it gave is not a URL");
  const url = new URL(location, from);
  url.username = url.password = "";
  if (url.protocol !== "https:" && url.protocol !== "http:")
    throw refuse(`the Location it gave has the scheme ${url.protocol}`);
  if (url.hostname === registry.hostname) {
    if (url.protocol === "http:" && registry.protocol === "https:") {
      url.protocol = "https:";
      url.port = registry.port;
    }
    return url;
  }
  if (url.protocol === "http:" && registry.protocol === "https:")
    throw refuse(`it points from https to http at ${url.host}`);
  if (isPrivate(url.hostname)) throw refuse(`it points to the private address ${url.host}`);
  return url;
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

const privateNetworks = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
] as const) {
  privateNetworks.addSubnet(network, prefix, "ipv4");
}
for (const [network, prefix] of [
  ["::1", 128],
  ["fc00::", 7],
  ["fe80::", 10],
] as const) {
  privateNetworks.addSubnet(network, prefix, "ipv6");
}

function isPrivate(hostname: string): boolean {
  const address = hostname.replace(/^\[|\]$/g, "");
  const family = isIP(address);
  return hostname === "localhost" || (family !== 0 && privateNetworks.check(address, family === 4 ? "ipv4" : "ipv6"));
}
