/** Any error as the Status that the client gets. */
import { toDvcrError } from "../../errors/dvcr-error.ts";
import type { ErrorCode } from "../../errors/catalogue.ts";
import { bodyLimit } from "./decode/limits.ts";
import { badRequest, methodNotAllowed, noSuchPath, StatusError, tooLarge } from "./status.ts";

/** Our codes that have a reason of their own in Kubernetes. */
const reasons: Partial<Record<ErrorCode, string>> = {
  E_OBJECT_NOT_FOUND: "NotFound",
  E_OBJECT_EXISTS: "AlreadyExists",
  E_OBJECT_CONFLICT: "Conflict",
  E_OBJECT_INVALID: "Invalid",
  E_VERSION_EXPIRED: "Expired",
  E_UNAUTHENTICATED: "Unauthorized",
  E_NOT_ALLOWED: "Forbidden",
  E_TARGET_REFUSED: "Forbidden",
  E_QUOTA: "Forbidden",
  E_TOO_MANY: "TooManyRequests",
  E_BODY_TIMEOUT: "Timeout",
  E_BAD_REQUEST: "BadRequest",
  E_PLACE_FULL: "ServiceUnavailable",
  E_STORE_FULL: "InsufficientStorage",
};

export function toStatus(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  // Fastify's own refusals carry a status.
  const { statusCode, code } = error as { statusCode?: unknown; code?: unknown };
  if (typeof code === "string" && code.startsWith("FST_")) {
    if (statusCode === 413) return tooLarge(bodyLimit);
    if (statusCode === 404) return noSuchPath();
    if (statusCode === 405) return methodNotAllowed();
    return badRequest("the request is malformed");
  }
  const known = toDvcrError(error);
  const reason = reasons[known.code];
  if (reason === undefined)
    return new StatusError(500, "InternalError", "Internal error occurred: see the server's log", {
      causes: [{ message: known.code }],
    });
  return new StatusError(
    known.entry.status,
    reason,
    known.message,
    known.code === "E_TOO_MANY" ? { retryAfterSeconds: 1 } : undefined,
  );
}
