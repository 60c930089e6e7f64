/** Requests that a web page of somebody else makes a browser send. */
import { isIP } from "node:net";
import type { FastifyRequest } from "fastify";

import { DvcrError } from "../../errors/dvcr-error.ts";

export interface OriginGuardOptions {
  /**
   * True where a request needs no token: a page whose name was made to resolve to this machine could then read
   * everything, so only names in `ownHosts` are answered.
   */
  readonly isOpen: boolean;
  /** Host names of this server beside localhost and addresses: of its public URL. */
  readonly ownHosts: readonly string[];
  /** Origins, such as https://portal.example.com, whose pages may send uploads and changes. */
  readonly allowedOrigins: readonly string[];
}

/**
 * An onRequest hook. A change is refused when a browser says that a page of another origin sends it (Origin, and
 * Sec-Fetch-Site of the Fetch metadata specification); tools send neither header.
 */
export function originGuard({ isOpen, ownHosts, allowedOrigins }: OriginGuardOptions) {
  const known = new Set(["localhost", ...ownHosts.map((host) => host.toLowerCase())]);
  return (request: FastifyRequest, _reply: unknown, done: (error?: Error) => void): void => {
    try {
      const host = hostOf(request);
      if (isOpen && !known.has(host.hostname) && isIP(host.hostname.replace(/^\[|\]$/g, "")) === 0) {
        throw new DvcrError("E_NOT_ALLOWED", `this server is not known as ${host.hostname}`);
      }
      if (!["GET", "HEAD", "OPTIONS"].includes(request.method)) checkSender(request, host, allowedOrigins);
      done();
    } catch (error) {
      done(error as Error);
    }
  };
}

function hostOf(request: FastifyRequest): URL {
  const text = `http://${request.headers.host ?? ""}`;
  if (!URL.canParse(text)) throw new DvcrError("E_BAD_REQUEST", "the Host header is missing or malformed");
  return new URL(text);
}

function checkSender(request: FastifyRequest, host: URL, allowedOrigins: readonly string[]): void {
  const { origin, "sec-fetch-site": site } = request.headers;
  if (origin !== undefined && allowedOrigins.includes(origin)) return;
  const isOther = origin !== undefined && (!URL.canParse(origin) || new URL(origin).host !== host.host);
  if (isOther || site === "cross-site" || site === "same-site") {
    throw new DvcrError("E_NOT_ALLOWED", "the request comes from a page of another site");
  }
}
