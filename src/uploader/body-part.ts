import { createHash, type Hash } from "node:crypto";
import type { Checksum } from "../config/kinds.ts";
import { DvcrError } from "../errors/dvcr-error.ts";
import type { BodyReader } from "./body-reader.ts";
import type { Upload } from "./upload.ts";

/** How the bytes of one request become bytes of the upload. */
export interface BodyPart {
  /** Bytes that the request brings, where that is known. */
  readonly length: number | undefined;
  /** The end of the body is the end of the file. */
  readonly endsFile: boolean;
  /** Over this request's bytes alone. */
  readonly checksums: readonly Checksum[];
}

/** One hash of a request's bytes beside the sum that it must have. */
interface Check {
  readonly checksum: Checksum;
  readonly hash: Hash;
}

const startChecks = (checksums: readonly Checksum[]): Check[] =>
  checksums.map((checksum) => ({ checksum, hash: createHash(checksum.algorithm) }));

/** What the first wrong one of `checks` says. */
function mismatchOf(checks: readonly Check[]): string | undefined {
  for (const { checksum, hash } of checks) {
    const found = hash.digest("hex");
    if (found !== checksum.expected) return `${checksum.algorithm} sum mismatch: ${checksum.expected} != ${found}`;
  }
  return undefined;
}

/** The next chunk, or nothing at the end. Throws E_BAD_REQUEST when the body is not as long as was said. */
async function nextOf(reader: BodyReader, taken: number, part: BodyPart): Promise<Uint8Array | undefined> {
  const { value } = await reader.next();
  const bytes = taken + (value?.byteLength ?? 0);
  if (part.length !== undefined && (value === undefined || bytes > part.length)) {
    throw new DvcrError(
      "E_BAD_REQUEST",
      `the body has ${value === undefined ? "" : "at least "}${bytes} bytes, but ${part.length} were announced`,
    );
  }
  return value;
}

/**
 * Passes a request's bytes on to the import as they come. A wrong checksum is found when the import has them all, so it
 * ends the upload. Throws what ended the connection or the import, E_BAD_REQUEST, and E_EMPTY for a
 * whole file of no bytes.
 */
export async function passOn(reader: BodyReader, upload: Upload, part: BodyPart): Promise<void> {
  const checks = startChecks(part.checksums);
  let bytes = 0;
  while (bytes !== part.length) {
    await upload.room();
    const chunk = await nextOf(reader, bytes, part);
    if (chunk === undefined && part.endsFile && upload.offset === 0)
      throw new DvcrError("E_EMPTY", "the request brings a file of 0 bytes");
    if (chunk === undefined) break;
    bytes += chunk.byteLength;
    for (const { hash } of checks) hash.update(chunk);
    upload.take(chunk);
  }
  const mismatch = mismatchOf(checks);
  if (mismatch !== undefined) {
    upload.refuse(new DvcrError("E_CHECKSUM_MISMATCH", mismatch));
    await upload.result();
  }
  if (part.endsFile || upload.offset === upload.total) upload.end();
}

/**
 * Holds a request's bytes until their checksum was compared, then passes them on all at once; wrong ones are dropped.
 * Throws E_TUS_CHECKSUM, or E_PART_TOO_LARGE beyond `most` bytes, and like passOn().
 */
export async function holdThenPass(reader: BodyReader, upload: Upload, part: BodyPart, most: number): Promise<void> {
  const checks = startChecks(part.checksums);
  const held: Uint8Array[] = [];
  let bytes = 0;
  while (bytes !== part.length) {
    const chunk = await nextOf(reader, bytes, part);
    if (chunk === undefined) break;
    bytes += chunk.byteLength;
    upload.checkEnd(upload.offset + bytes);
    if (bytes > most) throw new DvcrError("E_PART_TOO_LARGE", `a part with a checksum has more than ${most} bytes`);
    for (const { hash } of checks) hash.update(chunk);
    held.push(chunk);
  }
  const mismatch = mismatchOf(checks);
  if (mismatch !== undefined) throw new DvcrError("E_TUS_CHECKSUM", mismatch);
  for (const chunk of held) {
    await upload.room();
    upload.take(chunk);
  }
  if (upload.offset === upload.total) upload.end();
}
