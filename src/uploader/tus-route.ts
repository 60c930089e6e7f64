/** The tus protocol, version 1.0.0: core, creation, creation-defer-length, termination, checksum. */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Checksum } from "../config/kinds.ts";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import type { ImportReport } from "../pipeline/import-image.ts";
import { holdThenPass, passOn } from "./body-part.ts";
import { BodyReader } from "./body-reader.ts";
import { letBodyCome } from "./continue.ts";
import type { UploadRoutes } from "./routes.ts";
import { sourceFormatOf } from "./source-format.ts";
import { addResultHeaders } from "./status-answer.ts";
import { contentLength, headerText } from "./upload-body.ts";
import { sizeFix, type Upload } from "./upload.ts";

const version = "1.0.0";
const partType = "application/offset+octet-stream";
/** A part with a checksum is held in memory until it was compared. */
const heldBytes = 16 * 2 ** 20;
/** Seconds that HEAD waits for the verdict. */
const defaultVerdictWait = 20;
const checksumBytes: Readonly<Record<string, number>> = { md5: 16, sha1: 20, sha256: 32 };

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;

export interface TusHandlers {
  readonly create: Handler;
  readonly status: Handler;
  readonly append: Handler;
  readonly terminate: Handler;
}

/** True when the request speaks tus. */
export const isTus = (request: FastifyRequest): boolean => request.headers["tus-resumable"] !== undefined;

/** A header that counts bytes. Throws E_BAD_REQUEST when it is no number. */
function count(request: FastifyRequest, name: string): number | undefined {
  const text = headerText(request, name);
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text))
    throw new DvcrError(
      "E_BAD_REQUEST",
      `the header ${name} is ${JSON.stringify(text.slice(0, 40))}, expected a number of bytes`,
    );
  return Number(text);
}

/** Upload-Checksum: the algorithm and the sum in base64. Throws E_BAD_REQUEST, for an unknown algorithm too. */
function partChecksum(request: FastifyRequest): Checksum | undefined {
  const text = headerText(request, "upload-checksum");
  if (text === undefined) return undefined;
  const [algorithm = "", encoded = "", ...rest] = text.split(" ");
  const sum = Buffer.from(encoded, "base64");
  if (rest.length > 0 || !Object.hasOwn(checksumBytes, algorithm) || sum.length !== checksumBytes[algorithm]) {
    throw new DvcrError(
      "E_BAD_REQUEST",
      "the header upload-checksum is malformed, expected one of " +
        `${Object.keys(checksumBytes).join(", ")} and the sum in base64`,
    );
  }
  return { algorithm, expected: sum.toString("hex") };
}

/** OPTIONS: what of tus is spoken. `maxSize` in bytes. */
export function addTusOptions(reply: FastifyReply, maxSize: number): void {
  void reply.header("tus-resumable", version).header("tus-version", version).header("tus-max-size", maxSize);
  void reply.header("tus-extension", "creation,creation-defer-length,termination,checksum");
  void reply.header("tus-checksum-algorithm", Object.keys(checksumBytes).join(","));
}

/** Handlers of requests with Tus-Resumable, all at the one path; an upload is named by the query `tus`. */
export function tusHandlers({ config, session, signal }: UploadRoutes): TusHandlers {
  /** Every handler: the version is compared first and told in every answer. */
  const speaking =
    (handler: Handler): Handler =>
    async (request, reply) => {
      void reply.header("tus-resumable", version).header("cache-control", "no-store");
      if (headerText(request, "tus-resumable") !== version) {
        void reply.header("tus-version", version);
        throw new DvcrError(
          "E_TUS_VERSION",
          `the request speaks tus ${JSON.stringify((headerText(request, "tus-resumable") ?? "").slice(0, 20))}`,
        );
      }
      if (signal.aborted) throw toDvcrError(signal.reason);
      return await handler(request, reply);
    };

  const named = (request: FastifyRequest): Upload => {
    const id = (request.query as { tus?: unknown }).tus;
    const upload = typeof id === "string" ? session.byId(id) : undefined;
    if (upload === undefined) throw new DvcrError("E_NOT_FOUND", "there is no such upload; it may have been given up");
    return upload;
  };

  const checkSize = (total: number): void => {
    if (total === 0) throw new DvcrError("E_EMPTY", "Upload-Length is 0");
    const most = config.maxUploadSize ?? config.maxVirtualSize;
    const fix = config.maxUploadSize === undefined ? {} : { fix: sizeFix };
    if (total > most)
      throw new DvcrError("E_TOO_LARGE", `Upload-Length is ${total}, more than the limit of ${most}`, fix);
  };

  const create: Handler = async (request, reply) => {
    const total = count(request, "upload-length");
    const isDeferred = headerText(request, "upload-defer-length") === "1";
    if ((total === undefined) !== isDeferred)
      throw new DvcrError("E_BAD_REQUEST", "exactly one of Upload-Length and Upload-Defer-Length: 1 is needed");
    if (total !== undefined) checkSize(total);
    const sourceFormat = sourceFormatOf(request) ?? (await config.declaredFormat?.());
    const id = randomUUID();
    await session.begin({ total, checksums: config.checksums, isFramedSnappy: false, id, sourceFormat });
    session.release();
    // Relative: a proxy may publish exactly one path, and under another name.
    return await reply.code(201).header("location", `?tus=${id}`).header("upload-offset", 0).send("");
  };

  /**
   * The result of an upload that has every byte. A client takes a complete offset for success, so that it is told none
   * before: where the import takes longer than a proxy may wait, E_UPLOAD_LOCKED, and it asks again.
   */
  const verdictOn = async (request: FastifyRequest, upload: Upload): Promise<ImportReport> => {
    const leave = session.attend(() => !request.raw.socket.destroyed);
    const waited = new AbortController();
    const late = delay((config.uploadSipInterval ?? defaultVerdictWait) * 1000, undefined, {
      signal: waited.signal,
    }).catch(() => undefined);
    try {
      const report = await Promise.race([upload.result(), late]);
      if (report === undefined)
        throw new DvcrError("E_UPLOAD_LOCKED", "every byte has come, and the image is being stored");
      return report;
    } finally {
      waited.abort();
      leave();
    }
  };

  const status: Handler = async (request, reply) => {
    await session.endSilentConnection();
    const upload = named(request);
    const { verdict } = session.status();
    reply.raw.once("finish", () => session.told());
    if (verdict?.kind === "failed") throw verdict.error;
    if (upload.isWhole) addResultHeaders(reply, await verdictOn(request, upload));
    void reply.header("upload-offset", upload.offset);
    if (upload.total === undefined) void reply.header("upload-defer-length", "1");
    else void reply.header("upload-length", upload.total);
    return await reply.code(200).send("");
  };

  /** UploadSession.resume(), for `length` bytes that must lie within the file. */
  const resumeFor = (offset: number, total: number | undefined, length: number): Upload => {
    const upload = session.resume(offset, total);
    try {
      upload.checkEnd(offset + length);
      return upload;
    } catch (error) {
      session.release();
      throw error;
    }
  };

  const append: Handler = async (request, reply) => {
    named(request);
    const type = headerText(request, "content-type");
    if (type !== partType)
      throw new DvcrError("E_TUS_TYPE", `the request has Content-Type ${JSON.stringify((type ?? "").slice(0, 80))}`);
    const offset = count(request, "upload-offset");
    if (offset === undefined) throw new DvcrError("E_BAD_REQUEST", "the header upload-offset is missing");
    const total = count(request, "upload-length");
    if (total !== undefined) checkSize(total);
    const checksum = partChecksum(request);
    const length = contentLength(request);
    if (checksum !== undefined && (length ?? 0) > heldBytes)
      throw new DvcrError("E_PART_TOO_LARGE", `a part with a checksum has ${length} bytes, more than ${heldBytes}`);

    const upload = resumeFor(offset, total, length ?? 0);
    reply.raw.once("finish", () => session.told());
    const leave = session.attend(() => !request.raw.socket.destroyed);
    try {
      letBodyCome(request, reply);
      const reader = new BodyReader(request.raw, {
        request: request.raw,
        idleTimeout: config.uploadIdleTimeout * 1000,
      });
      const part = { length, endsFile: false, checksums: checksum === undefined ? [] : [checksum] };
      await session.receive(upload, reader, (from, to) =>
        checksum === undefined ? passOn(from, to, part) : holdThenPass(from, to, part, heldBytes),
      );
      // The last part's answer is the verdict on the whole.
      if (upload.isWhole) addResultHeaders(reply, await upload.result());
    } finally {
      leave();
    }
    return await reply.code(204).header("upload-offset", upload.offset).send();
  };

  const terminate: Handler = async (request, reply) => {
    await session.discard(named(request));
    return await reply.code(204).send();
  };

  return {
    create: speaking(create),
    status: speaking(status),
    append: speaking(append),
    terminate: speaking(terminate),
  };
}
