/** Telling whether a file that was chosen again is the one whose first part was uploaded already. */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";

import { bytesText, timeText } from "../model/format.ts";
import { keysWith, recall, remember } from "../memory.ts";

/** What is known of a file without reading all of it. */
export interface FileIdentity {
  readonly name: string;
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly lastModified: number;
  /** SHA-256 of its first and its last MiB, in hex. */
  readonly ends: string;
}

const sampleBytes = 2 ** 20;
const prefix = "dvcr.upload.";
const keptMs = 7 * 86_400_000;

/** Reads both ends of `file`. The Web Crypto API would do, but is missing from pages without TLS. */
export async function identityOf(file: File): Promise<FileIdentity> {
  const hash = sha256.create();
  for (const part of [file.slice(0, sampleBytes), file.slice(Math.max(0, file.size - sampleBytes))]) {
    hash.update(new Uint8Array(await part.arrayBuffer()));
  }
  const { name, size, lastModified } = file;
  return { name, size, lastModified, ends: bytesToHex(hash.digest()) };
}

/** Why `chosen` is not the file that `begun` was; undefined where it is. */
export function differenceOf(begun: FileIdentity, chosen: FileIdentity): string | undefined {
  if (begun.name !== chosen.name) return `it is named ${chosen.name}, the upload began with ${begun.name}`;
  if (begun.size !== chosen.size)
    return (
      `it has ${bytesText(chosen.size)} (${chosen.size} bytes), the upload began with ` +
      `${bytesText(begun.size)} (${begun.size} bytes)`
    );
  if (begun.ends !== chosen.ends) return "its content has changed since the upload began";
  if (begun.lastModified !== chosen.lastModified)
    return `it was changed on ${timeText(new Date(chosen.lastModified).toISOString())}, after the upload began`;
  return undefined;
}

/** The file whose upload to the image with `uid` was begun in this browser. */
export function begunUpload(uid: string): FileIdentity | undefined {
  const value = recall(prefix + uid);
  return isRecord(value) ? value.file : undefined;
}

/** Remembers the file for the image with `uid`, through reloads; undefined forgets it. */
export function rememberUpload(uid: string, file: FileIdentity | undefined): void {
  remember(prefix + uid, file === undefined ? undefined : { file, at: Date.now() });
  for (const key of keysWith(prefix)) {
    const value = recall(key);
    if (!isRecord(value) || Date.now() - value.at > keptMs) remember(key, undefined);
  }
}

function isRecord(value: unknown): value is { readonly file: FileIdentity; readonly at: number } {
  if (typeof value !== "object" || value === null) return false;
  const { file, at } = value as { file?: Partial<FileIdentity>; at?: unknown };
  return (
    typeof at === "number" &&
    typeof file?.name === "string" &&
    typeof file.size === "number" &&
    typeof file.lastModified === "number" &&
    typeof file.ends === "string"
  );
}
