/** What went wrong between us and a server, in the terms that the retry table knows. */
import { DvcrError } from "../errors/dvcr-error.ts";
import type { ErrorCode } from "../errors/catalogue.ts";

export interface Failure {
  /** HTTP status, where an answer came. */
  readonly status?: number;
  /** The server's own error code (`MANIFEST_INVALID`), or the network's (`ECONNRESET`). */
  readonly code?: string;
  /** From Retry-After. */
  readonly retryAfterMs?: number;
}

/** A DvcrError that says enough of its cause to decide whether trying again can help. */
export class FailureError extends DvcrError {
  readonly failure: Failure;

  constructor(code: ErrorCode, message: string, failure: Failure, options?: { cause?: unknown; fix?: string }) {
    super(code, message, options);
    this.failure = failure;
  }
}

/** The network's code of an error from undici or Node, looked for down its causes; nothing for other errors. */
export function networkCode(error: unknown): string | undefined {
  for (let one = error; one instanceof Error; one = one.cause) {
    const nested = one instanceof AggregateError ? networkCode(one.errors[0]) : undefined;
    const { code } = one as NodeJS.ErrnoException;
    if (typeof code === "string" && code !== "") return code;
    if (nested !== undefined) return nested;
  }
  return undefined;
}

const tlsCodes = [
  /^(?:CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_CA|PATH_LENGTH_|HOSTNAME_MISMATCH)/,
  /^(?:ERR_TLS_|ERR_SSL_|ERR_OSSL_|EPROTO$)/,
];

/** True for codes that mean the two sides do not trust or understand each other's TLS. */
export function isTlsCode(code: string): boolean {
  return tlsCodes.some((pattern) => pattern.test(code));
}

/** Milliseconds to wait by a Retry-After header (RFC 9110, section 10.2.3), seconds or a date. */
export function retryAfterMs(header: string | undefined, now: number = Date.now()): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
