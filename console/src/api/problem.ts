/** What a server's refusal says, in its own words. */

/** A refused or failed request. `message` is for people: the server's words where it had any. */
export class ApiError extends Error {
  /** HTTP status; 0 where no answer came. */
  readonly status: number;
  /** What to do about it, where the server says so apart from the message. */
  readonly fix: string | undefined;
  /** Messages by the field they are about (`spec.dataSource.http.url`). */
  readonly fields: ReadonlyMap<string, string>;
  /** From Retry-After or the Status. */
  readonly retryAfterMs: number | undefined;

  constructor(
    message: string,
    status: number,
    more: { fix?: string | undefined; fields?: ReadonlyMap<string, string>; retryAfterMs?: number | undefined } = {},
  ) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.fix = more.fix;
    this.fields = more.fields ?? new Map();
    this.retryAfterMs = more.retryAfterMs;
  }

  /** True when the same request may well succeed later. */
  get mayPass(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

type Json = Readonly<Record<string, unknown>>;

const isJson = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);
const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

/** The error that `body`, a Kubernetes Status or problem details (RFC 9457) or neither, tells of. */
export function problemOf(status: number, body: string, retryAfter: string | null): ApiError {
  const retryAfterMs = retryAfter !== null && /^\d{1,6}$/.test(retryAfter) ? Number(retryAfter) * 1000 : undefined;
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    const line = body.trim();
    const isShortText = line !== "" && line.length <= 500 && !line.startsWith("<");
    return new ApiError(isShortText ? line : `The server answered with status ${status}`, status, { retryAfterMs });
  }
  if (!isJson(json)) return new ApiError(`The server answered with status ${status}`, status, { retryAfterMs });
  if (json["kind"] === "Status") return statusError(json, status, retryAfterMs);
  const message =
    text(json["detail"]) ?? text(json["title"]) ?? text(json["message"]) ?? `The server answered with status ${status}`;
  const code = text(json["code"]);
  return new ApiError(code === undefined ? message : `${code}: ${message}`, status, {
    fix: text(json["fix"]),
    retryAfterMs,
  });
}

/** The error of a Status object, as an answer or inside of a watch. */
export function statusError(json: Json, status: number, retryAfterMs?: number): ApiError {
  const details = isJson(json["details"]) ? json["details"] : {};
  const causes = Array.isArray(details["causes"]) ? details["causes"].filter(isJson) : [];
  const fields = new Map<string, string>();
  for (const cause of causes) {
    const [field, message] = [text(cause["field"]), text(cause["message"])];
    if (field !== undefined && message !== undefined)
      fields.set(field, fields.has(field) ? `${fields.get(field)!}; ${message}` : message);
  }
  const seconds = details["retryAfterSeconds"];
  const wait = retryAfterMs ?? (typeof seconds === "number" ? seconds * 1000 : undefined);
  return new ApiError(text(json["message"]) ?? `The server answered with status ${status}`, status, {
    fields,
    retryAfterMs: wait,
  });
}

/** `error` as an ApiError: what fetch throws means that there was no answer. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError("The server cannot be reached", 0);
}
