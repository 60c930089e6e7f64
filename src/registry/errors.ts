/** Registries' answers as errors: spec bodies of distribution 2.8 and 3.x, plain text, and no answer at all. */
import type { IncomingHttpHeaders } from "undici/types/header.d.ts";
import type { ErrorCode } from "../errors/catalogue.ts";
import { DvcrError } from "../errors/dvcr-error.ts";
import { cancellation } from "../retry/cancel.ts";
import { readOnly } from "../retry/retry.ts";
import { FailureError, isTlsCode, networkCode, retryAfterMs, type Failure } from "../retry/failure.ts";

/** One exchange, as messages name it: no query string, no credentials. */
export interface Exchange {
  /** `host` or `host:port` of the registry. */
  readonly host: string;
  readonly method: string;
  readonly path: string;
}

export class RegistryError extends FailureError {
  /** The upload session is gone and what it held cannot be sent again from here. */
  readonly sessionLost: boolean;

  constructor(
    code: ErrorCode,
    message: string,
    failure: Failure,
    options: { cause?: unknown; sessionLost?: boolean } = {},
  ) {
    super(code, message, failure, options.cause === undefined ? undefined : { cause: options.cause });
    this.sessionLost = options.sessionLost ?? false;
  }
}

interface RegistryDiagnostic {
  readonly code: string;
  readonly text: string;
}

const maxReasonLength = 300;
const noSpace = /no space left on device|"Err":\s*28\b|disk quota exceeded/i;

/**
 * The error for an answer with an unexpected status.
 *
 * @param body the answer's body, already bounded
 * @param headers the answer's: Retry-After says when to ask again, Allow what a read-only registry still answers
 * @param secrets strings that must not show even if the registry echoes them
 */
export function errorFromAnswer(
  exchange: Exchange,
  status: number,
  body: string,
  headers: IncomingHttpHeaders = {},
  secrets: readonly string[] = [],
): RegistryError {
  const diagnostic = parseBody(body);
  const reason = clean(diagnostic?.text ?? body, secrets);
  if (status === 507 || (status >= 500 && noSpace.test(body))) return registryFull(exchange, status, reason);
  const retryAfter = retryAfterMs(one(headers["retry-after"]));
  const isReadOnly = status === 405 && saysReadOnly(diagnostic, body, one(headers["allow"]));
  const code = isReadOnly ? readOnly : diagnostic?.code;
  const failure = {
    status,
    ...(code === undefined ? {} : { code }),
    ...(retryAfter === undefined ? {} : { retryAfterMs: retryAfter }),
  };
  const said = reason === "" ? `HTTP ${String(status)}` : `HTTP ${String(status)}: ${reason}`;
  return new RegistryError(codeOf(status, code), `${describe(exchange)}: ${said}`, failure);
}

/**
 * The error for a request that got no answer. Our own errors and cancellation pass through.
 */
export function errorFromNetwork(exchange: Exchange, error: unknown, signal: AbortSignal | undefined): DvcrError {
  if (signal?.aborted === true) return cancellation(signal);
  if (error instanceof DvcrError) return error;
  const code = networkCode(error) ?? "unknown error";
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "EPROTO") {
    return new RegistryError(
      "E_REGISTRY_TLS",
      `registry ${exchange.host} does not answer in TLS (${code})`,
      { code },
      { cause: error },
    );
  }
  if (isTlsCode(code)) {
    return new RegistryError(
      "E_REGISTRY_TLS",
      `registry ${exchange.host}: TLS failed (${code})`,
      { code },
      { cause: error },
    );
  }
  return new RegistryError("E_REGISTRY_UNAVAILABLE", `${describe(exchange)}: ${code}`, { code }, { cause: error });
}

/** `registry HOST: METHOD /path`. */
export function describe(exchange: Exchange): string {
  return `registry ${exchange.host}: ${exchange.method} ${exchange.path}`;
}

/**
 * The platform's controller knows a full registry by its host, the word POST and `Err:28` in the text, whichever
 * request met it first.
 */
function registryFull(exchange: Exchange, status: number, reason: string): RegistryError {
  return new RegistryError(
    "E_REGISTRY_FULL",
    `${describe(exchange)}: HTTP ${String(status)}: no space left on device (upload begun by ` +
      `POST, Err:28 ENOSPC): ${reason}`,
    { status, code: "ENOSPC" },
  );
}

function codeOf(status: number, code: string | undefined): ErrorCode {
  if (status === 401 || status === 403 || code === "UNAUTHORIZED" || code === "DENIED") return "E_REGISTRY_DENIED";
  if (code === readOnly) return "E_REGISTRY_READONLY";
  if (status === 408 || status === 425 || status === 429 || status >= 500) return "E_REGISTRY_UNAVAILABLE";
  return "E_REGISTRY_REFUSED";
}

/**
 * True where a 405 speaks of a registry that takes no writes for now: distribution in maintenance lists the methods
 * that are left, others use words. A plain 405 only says that this request is not answered here.
 */
function saysReadOnly(diagnostic: RegistryDiagnostic | undefined, body: string, allow: string | undefined): boolean {
  if (/read[- ]?only|maintenance|garbage[- ]collection/i.test(body)) return true;
  if (diagnostic !== undefined || allow === undefined) return false;
  const methods = allow.toUpperCase().split(/[\s,]+/);
  return methods.includes("GET") && !methods.some((method) => ["POST", "PUT", "PATCH", "DELETE"].includes(method));
}

function one(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === "string" ? value : value?.[0];
}

/** `{"errors":[{code,message,detail}]}`; detail is any JSON in 2.8 and a string in 3.x. */
function parseBody(body: string): RegistryDiagnostic | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return undefined;
  }
  const errors = (parsed as { errors?: unknown } | null)?.errors;
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  if (typeof first !== "object" || first === null) return undefined;
  const { code, message, detail } = first as Record<string, unknown>;
  if (typeof code !== "string") return undefined;
  const parts = [
    code,
    message,
    detail === null || detail === undefined ? "" : typeof detail === "string" ? detail : JSON.stringify(detail),
  ];
  return { code, text: parts.filter((part) => typeof part === "string" && part !== "" && part !== "{}").join(": ") };
}

function clean(text: string, secrets: readonly string[]): string {
  const hidden = secrets
    .filter((secret) => secret.length > 3)
    .reduce((shown, secret) => shown.replaceAll(secret, "***"), text);
  // eslint-disable-next-line no-control-regex -- a registry's text must not move a terminal's cursor
  const line = hidden.replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, " ").trim();
  return line.length <= maxReasonLength ? line : `${line.slice(0, maxReasonLength)}…`;
}
