import type { IncomingHttpHeaders } from "node:http";

import { contentCodings } from "./content-coding.ts";

/** What one answer said of the file behind a URL: enough to go on later and to notice that it changed. */
export interface Entity {
  /** Whole size in bytes, when the server tells. */
  readonly size?: number;
  /** For If-Range: a strong ETag, else a Last-Modified that is one (RFC 9110 section 13.1.5). */
  readonly validator?: string;
  /** As sent; evidence of a change also where it is too weak to be a validator. */
  readonly etag?: string;
  readonly lastModified?: string;
  /** Content codings, outermost last: another coding is another sequence of bytes. */
  readonly coding?: string;
  /** True for an answer to a request for a range with one. */
  readonly partial: boolean;
  /** True where the server gave a range or says that it does. */
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

/** The entity that an answer to a GET describes. */
export function entityOf(status: number, headers: IncomingHttpHeaders): Entity {
  const { etag, "last-modified": lastModified } = headers;
  const validator = validatorOf(headers);
  const range = status === 206 ? parseContentRange(headers["content-range"]) : undefined;
  const size = status === 206 ? range?.size : lengthOf(headers);
  const coding = contentCodings(headers).join(",");
  return {
    ...(size === undefined ? {} : { size }),
    ...(validator === undefined ? {} : { validator }),
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified }),
    ...(coding === "" ? {} : { coding }),
    partial: range !== undefined,
    ranges: range !== undefined || /\bbytes\b/i.test(headers["accept-ranges"] ?? ""),
  };
}

/**
 * True when `seen` is the file known. The answer to a conditional range may leave headers out that the client has (RFC
 * 9110 section 15.3.7); a whole answer must carry them again, or it may be of a file that was replaced.
 */
export function sameEntity(known: Entity, seen: Entity): boolean {
  const fits = (one: number | string | undefined, other: number | string | undefined) =>
    one === other || one === undefined || other === undefined;
  if (!fits(known.size, seen.size) || !fits(known.etag, seen.etag) || !fits(known.lastModified, seen.lastModified))
    return false;
  if (seen.coding !== undefined && seen.coding !== known.coding) return false;
  if (seen.partial) return true;
  return known.etag === seen.etag && known.lastModified === seen.lastModified && known.coding === seen.coding;
}

function validatorOf(headers: IncomingHttpHeaders): string | undefined {
  const { etag, "last-modified": lastModified, date } = headers;
  if (etag !== undefined && !etag.startsWith("W/")) return etag;
  // A file written in the very second of the answer may be written again in it (RFC 9110 section 8.8.2.2).
  const isFresh =
    lastModified !== undefined && date !== undefined && Date.parse(date) - Date.parse(lastModified) < 1000;
  return isFresh ? undefined : lastModified;
}

function lengthOf(headers: IncomingHttpHeaders): number | undefined {
  const length = headers["content-length"];
  return length === undefined ? undefined : Number(length);
}
