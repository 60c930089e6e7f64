import { DvcrError } from "../errors/dvcr-error.ts";

/** The bytes of a file that one request brings: `length` of them from `start`, of `total`. */
export interface ContentRange {
  readonly start: number;
  readonly length: number;
  readonly total: number;
}

/**
 * Content-Range of a PUT that continues an upload (RFC 9110, sections 14.4 and 14.5). Throws E_BAD_REQUEST for anything
 * but `bytes FIRST-LAST/TOTAL`: curl sends `bytes 500-498/499` when it cannot know the length of what it reads.
 */
export function parseContentRange(value: string, contentLength: number | undefined): ContentRange {
  const malformed = (why: string): DvcrError =>
    new DvcrError("E_BAD_REQUEST", `Content-Range ${JSON.stringify(value.slice(0, 80))} ${why}`);
  const match = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/.exec(value);
  if (match === null) throw malformed("is malformed, expected bytes FIRST-LAST/TOTAL");
  const [start = 0, last = 0, total = 0] = match.slice(1).map(Number);
  const length = last - start + 1;
  if (length < 1 || last >= total) throw malformed("names no bytes of the file; continue with a file, not with a pipe");
  if (contentLength !== undefined && contentLength !== length)
    throw malformed(`names ${length} bytes, but Content-Length is ${contentLength}`);
  return { start, length, total };
}
