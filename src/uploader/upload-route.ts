import type { Readable } from "node:stream";
import type { FastifyReply, FastifyRequest } from "fastify";
import { importOptions } from "../config/import-options.ts";
import type { Checksum } from "../config/kinds.ts";
import type { UploaderConfig } from "../config/uploader-config.ts";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import type { TrackedImport } from "../metrics/tracked-import.ts";
import type { ImportReport } from "../pipeline/import-image.ts";
import { answerReport } from "./answer.ts";
import { letBodyCome } from "./continue.ts";
import { wantedChecksums } from "./digest-headers.ts";
import type { UploadGate } from "./gate.ts";
import { UploadSource } from "./upload-source.ts";

export interface UploadRouteDeps {
  readonly gate: UploadGate;
  readonly runImport: TrackedImport;
  /** Aborted when the process is told to stop. */
  readonly signal: AbortSignal;
}

/** Decides by the head of the request alone; nothing of the body has been asked for yet. */
function checksumsOfHead(config: UploaderConfig, request: FastifyRequest): Checksum[] {
  const { headers } = request;
  const coding = headers["content-encoding"] ?? "identity";
  if (coding !== "" && coding !== "identity") {
    throw new DvcrError("E_CONTENT_CODING", `the request has Content-Encoding ${JSON.stringify(coding.slice(0, 40))}`);
  }
  // A framing of another tool's own around the bytes; taken as they are they would be stored as a broken disk.
  if (headers["x-cdi-content-type"] === "blockdevice-clone") {
    throw new DvcrError("E_CONTENT_CODING", "the request has x-cdi-content-type blockdevice-clone");
  }
  const checksums = wantedChecksums(config.checksums, headers);
  if (request.isMultipart() && (headers["content-digest"] ?? headers["repr-digest"]) !== undefined) {
    throw new DvcrError("E_BAD_REQUEST", "a digest header covers the whole form, not the file in it; send the file as the body");
  }
  return checksums;
}

/** The bytes of the file and how many they will be, where the client said. */
async function bodyOf(request: FastifyRequest): Promise<{ stream: Readable; size: number | undefined }> {
  if (!request.isMultipart()) {
    const length = request.headers["content-length"];
    return { stream: request.raw, size: length === undefined ? undefined : Number(length) };
  }
  const part = await request.file();
  if (part === undefined) throw new DvcrError("E_BAD_REQUEST", "the form holds no file");
  return { stream: part.file, size: undefined };
}

/** PUT and POST /upload: one image, as the raw body or as the first file of a form. */
export function uploadHandler(config: UploaderConfig, { gate, runImport, signal }: UploadRouteDeps) {
  const receive = async (request: FastifyRequest, reply: FastifyReply, checksums: Checksum[]): Promise<ImportReport> => {
    letBodyCome(request, reply);
    const { stream, size } = await bodyOf(request);
    request.log.info({ bytes: size }, "upload begins");
    const source = new UploadSource(stream, size, { request: request.raw, idleTimeout: config.uploadIdleTimeout * 1000 });
    try {
      return await runImport(source, importOptions(config, checksums), signal);
    } finally {
      source.stop();
    }
  };
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    if (signal.aborted) throw toDvcrError(signal.reason);
    const checksums = checksumsOfHead(config, request);
    gate.enter();
    let report: ImportReport;
    try {
      report = await receive(request, reply, checksums);
    } catch (thrown) {
      const error = toDvcrError(thrown);
      if (gate.failed(error)) void reply.header("connection", "close");
      throw error;
    }
    gate.stored(report);
    return answerReport(request, reply, report);
  };
}
