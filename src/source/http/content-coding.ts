/**
 * What a server says of the coding of a body (RFC 9110, section 8.4). No coding is asked for, and the bytes are taken
 * as
 * `curl -o` would store them: checksums are of those. Where they are packed in gzip or zstd, by the server or because
 * the file is, the pipeline finds that by its magic and undoes it; the header proves nothing.
 */
import type { IncomingHttpHeaders } from "node:http";

import { DvcrError } from "../../errors/dvcr-error.ts";

/** Undone by their own magic, or not there at all. */
const provenByBytes = new Set(["gzip", "x-gzip", "zstd"]);
/** Leave no mark in the bytes and cannot be undone. */
const refused = new Set(["br", "compress", "x-compress", "deflate", "dcb", "dcz"]);

/** The codings named, in lower case; "identity", which is none, left out. */
export function contentCodings(headers: IncomingHttpHeaders): readonly string[] {
  const named = headers["content-encoding"]?.toLowerCase().split(",") ?? [];
  return named.map((coding) => coding.trim()).filter((coding) => coding !== "" && coding !== "identity");
}

/**
 * Codings that HTTP does not know ("none", "binary", "utf-8"), which servers invent: they are ignored.
 *
 * @throws DvcrError E_SOURCE_HTTP for one that changes the bytes and cannot be undone.
 */
export function unknownCodings(headers: IncomingHttpHeaders, description: string): readonly string[] {
  const codings = contentCodings(headers);
  const packed = codings.find((coding) => refused.has(coding));
  if (packed !== undefined)
    throw new DvcrError(
      "E_SOURCE_HTTP",
      `${description} sends the file packed as content encoding "${packed}" although none was asked for`,
      { fix: "Switch compression off for this file at the server, or name a URL that serves it as it is." },
    );
  return codings.filter((coding) => !provenByBytes.has(coding));
}
