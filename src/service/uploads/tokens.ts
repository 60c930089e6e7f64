import { createHash, randomInt, timingSafeEqual } from "node:crypto";
import type { UploadHandlers } from "../../uploader/handlers.ts";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const tokenLength = 32;

/** A new token: 32 random letters and digits, 190 bits. */
export function newUploadToken(): string {
  return Array.from({ length: tokenLength }, () => alphabet[randomInt(alphabet.length)]!).join("");
}

export const tokenPattern = /^[A-Za-z0-9]{32}$/;

/** What takes the upload of a URL. */
export interface UploadTarget {
  /** `cvi/NAME` or `vi/NAMESPACE/NAME`. */
  readonly label: string;
  readonly handlers: UploadHandlers;
  /** Bytes that have arrived. */
  readonly offset: number;
}

interface Entry {
  readonly digest: Buffer;
  readonly target: UploadTarget;
}

/**
 * Upload URLs that are alive. Tokens are looked up by their SHA-256, so that the time a wrong one takes says nothing of
 * the right ones.
 */
export class UploadTokens {
  readonly #entries = new Map<string, Entry>();

  add(token: string, target: UploadTarget): void {
    const digest = digestOf(token);
    this.#entries.set(digest.toString("base64"), { digest, target });
  }

  remove(token: string): void {
    this.#entries.delete(digestOf(token).toString("base64"));
  }

  find(token: string): UploadTarget | undefined {
    const digest = digestOf(token);
    const entry = this.#entries.get(digest.toString("base64"));
    return entry !== undefined && timingSafeEqual(entry.digest, digest) ? entry.target : undefined;
  }
}

const digestOf = (token: string): Buffer => createHash("sha256").update(token).digest();
