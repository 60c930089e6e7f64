import type { FastifyReply } from "fastify";
import { redactText } from "../log/redact.ts";
import type { StoredReport } from "../termination/message.ts";
import { formatDigests } from "./digest-headers.ts";
import type { UploadStatus } from "./upload-session.ts";

/** Says by headers which image was stored and what its source's checksums are. */
export function addResultHeaders(reply: FastifyReply, report: StoredReport): void {
  const digests = "checksums" in report ? formatDigests(report.checksums) : "";
  if (digests !== "") void reply.header("repr-digest", digests);
  void reply.header("docker-content-digest", report.manifestDigest);
}

/** Says by headers how the upload stands: where to go on, or what became of it. */
export function addStatusHeaders(reply: FastifyReply, status: UploadStatus, secrets: readonly string[]): void {
  const { state, offset, total, isComplete, fileIdentity, verdict } = status;
  void reply.header("cache-control", "no-store").header("dvcr-upload-state", state);
  void reply.header("upload-offset", offset).header("upload-complete", isComplete ? "?1" : "?0");
  if (total !== undefined) void reply.header("upload-length", total);
  if (fileIdentity !== undefined) void reply.header("dvcr-file-identity", fileIdentity);
  if (verdict?.kind === "stored") addResultHeaders(reply, verdict.report);
  // A header's value is visible ASCII only.
  if (verdict?.kind === "failed")
    void reply.header("dvcr-error", redactText(verdict.error.toLine(), secrets).replace(/[^\x20-\x7e]/g, "?"));
}
