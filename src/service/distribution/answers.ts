/** Answers in the form of the distribution specification ("Error Codes"). */
import type { FastifyReply } from "fastify";
import { toDvcrError } from "../../errors/dvcr-error.ts";

/** An error that a client of registries understands. */
export class DistributionError extends Error {
  readonly status: number;
  readonly code: string;
  readonly detail: unknown;

  constructor(status: number, code: string, message: string, detail?: unknown) {
    super(message);
    this.name = "DistributionError";
    this.status = status;
    this.code = code;
    this.detail = detail;
  }
}

export const unknownName = (repository: string) =>
  new DistributionError(404, "NAME_UNKNOWN", "repository name not known to registry", { name: repository });
export const unknownManifest = (reference: string) =>
  new DistributionError(404, "MANIFEST_UNKNOWN", "manifest unknown", { reference });
export const unknownBlob = (digest: string) =>
  new DistributionError(404, "BLOB_UNKNOWN", "blob unknown to registry", { digest });

/** The body for any error, its status set. What is not an answer of ours says nothing of the inside. */
export function answerDistributionError(reply: FastifyReply, error: unknown): FastifyReply {
  const { status, code, message, detail } = error instanceof DistributionError ? error : fromOurs(error);
  return reply
    .code(status)
    .type("application/json")
    .send({ errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] });
}

function fromOurs(error: unknown): DistributionError {
  const ours = toDvcrError(error);
  switch (ours.code) {
    case "E_UNAUTHENTICATED":
      return new DistributionError(401, "UNAUTHORIZED", "authentication required");
    case "E_TOO_MANY":
      return new DistributionError(429, "TOOMANYREQUESTS", "too many requests");
    case "E_NOT_ALLOWED":
      return new DistributionError(403, "DENIED", ours.message);
    case "E_BAD_REQUEST":
      return new DistributionError(400, "UNSUPPORTED", ours.message);
    case "E_LAYOUT_IO":
      return new DistributionError(503, "UNAVAILABLE", "the store for images cannot be read now");
    default:
      return new DistributionError(500, "UNKNOWN", "unknown error");
  }
}
