import type { IncomingHttpHeaders } from "node:http";

import { DvcrError } from "../../errors/dvcr-error.ts";

/** What one answer said of the file behind a URL: enough to go on later and to notice that it changed. */
export interface Entity {
  /** Whole size in bytes, when the server tells. */
  readonly size?: number;
  /** For If-Range: a strong ETag, else Last-Modified (RFC 9110 section 13.1.5). */
  readonly validator?: string;
  /** True once a request for a range was answered with that range. */
  readonly ranges: boolean;
}

/** A `Content-Range: bytes FIRST-LAST/SIZE`; `size` is missing for `*`. */
export interface ContentRange {
  readonly first: number;
  readonly last: number;
  readonly size?: number;
}

export function parseContentRange(text: string | undefined): ContentRange | undefined {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(text ?? "");
  if (!match) return undefined;
  const [first, last] = [Number(match[1]), Number(match[2])];
  if (last < first) return undefined;
  return match[3] === "*" ? { first, last } : { first, last, size: Number(match[3]) };
}

/** The entity that the answer to `Range: bytes=0-` describes. */
export function entityOf(status: number, headers: IncomingHttpHeaders): Entity {
  const validator = validatorOf(headers);
  const range = status === 206 ? parseContentRange(headers["content-range"]) : undefined;
  const size = status === 206 ? range?.size : lengthOf(headers);
  return {
    ...(size === undefined ? {} : { size }),
    ...(validator === undefined ? {} : { validator }),
    ranges: range?.first === 0,
  };
}

/** True when both can be the same file: no validator or size of one contradicts the other's. */
export function sameEntity(known: Entity, seen: Entity): boolean {
  const sizeFits = known.size === undefined || seen.size === undefined || known.size === seen.size;
  return sizeFits && known.validator === seen.validator;
}

/** Refuses an answer whose body is not the file itself: compressed in transfer although identity was asked for. */
export function requireIdentity(headers: IncomingHttpHeaders, description: string): void {
  const coding = headers["content-encoding"]?.trim().toLowerCase();
  if (coding !== undefined && coding !== "" && coding !== "identity") {
    throw new DvcrError("E_SOURCE_HTTP", `${description} answers with content encoding "${coding}" although none was asked for`);
  }
}

function validatorOf(headers: IncomingHttpHeaders): string | undefined {
  const { etag } = headers;
  return etag !== undefined && !etag.startsWith("W/") ? etag : headers["last-modified"];
}

function lengthOf(headers: IncomingHttpHeaders): number | undefined {
  const length = headers["content-length"];
  return length === undefined ? undefined : Number(length);
}
