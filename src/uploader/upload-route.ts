import type { FastifyReply, FastifyRequest } from "fastify";
import type { Checksum } from "../config/kinds.ts";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import { answerReport } from "./answer.ts";
import { passOn, type BodyPart } from "./body-part.ts";
import { BodyReader } from "./body-reader.ts";
import { parseContentRange, type ContentRange } from "./content-range.ts";
import { letBodyCome } from "./continue.ts";
import { checkDeclaredBefore, declaredDigests, mergeChecksums } from "./digest-headers.ts";
import type { UploadRoutes, UploadSettings } from "./routes.ts";
import { checkSameFormat, sourceFormatOf, type SourceFormat } from "./source-format.ts";
import { addStatusHeaders } from "./status-answer.ts";
import { checkBoundary, contentLength, fileOf, headerText } from "./upload-body.ts";
import type { Upload } from "./upload.ts";
import type { UploadSession } from "./upload-session.ts";

/** What the head of a PUT or POST says. */
interface UploadHead {
  /** Set when the request brings a part of the file. */
  readonly range: ContentRange | undefined;
  /** Bytes of the whole file, where the head tells. */
  readonly total: number | undefined;
  /** Over this request's bytes. */
  readonly contentDigests: readonly Checksum[];
  /** Over the whole file. */
  readonly fileDigests: readonly Checksum[];
  readonly isFramedSnappy: boolean;
  readonly fileIdentity: string | undefined;
  readonly sourceFormat: SourceFormat | undefined;
}

/**
 * DVCR-File-Identity: which file the client sends, in its own words. Throws E_BAD_REQUEST for what could not be told
 * back to it.
 */
function fileIdentityOf(request: FastifyRequest): string | undefined {
  const text = headerText(request, "dvcr-file-identity");
  if (text !== undefined && !/^[\w.-]{1,128}$/.test(text)) {
    throw new DvcrError(
      "E_BAD_REQUEST",
      "the header dvcr-file-identity is malformed, expected 1 to 128 of A-Z a-z 0-9 _ . -",
    );
  }
  return text;
}

/** Decides by the head of the request alone; nothing of the body has been asked for yet. */
function readHead(request: FastifyRequest): UploadHead {
  const coding = request.headers["content-encoding"] ?? "identity";
  if (coding !== "" && coding !== "identity") {
    throw new DvcrError("E_CONTENT_CODING", `the request has Content-Encoding ${JSON.stringify(coding.slice(0, 40))}`);
  }
  const length = contentLength(request);
  // Before an upload that was cut is given up for it, and before there is a verdict.
  if (length === 0) throw new DvcrError("E_EMPTY", "the request has no body");
  const rangeText = headerText(request, "content-range");
  const range = rangeText === undefined ? undefined : parseContentRange(rangeText, length);
  const contentDigests = declaredDigests(request.headers, "content-digest");
  const fileDigests = declaredDigests(request.headers, "repr-digest");
  if (request.isMultipart()) {
    checkBoundary(request);
    if (contentDigests.length + fileDigests.length > 0) {
      throw new DvcrError(
        "E_BAD_REQUEST",
        "a digest header covers the whole form, not the file in it; send the file as the body",
      );
    }
    if (range !== undefined)
      throw new DvcrError("E_BAD_REQUEST", "a form has no Content-Range; continue with the file as the body");
  }
  return {
    range,
    total: range?.total ?? (request.isMultipart() ? undefined : length),
    contentDigests,
    fileDigests,
    isFramedSnappy: headerText(request, "x-cdi-content-type") === "blockdevice-clone",
    fileIdentity: fileIdentityOf(request),
    sourceFormat: sourceFormatOf(request),
  };
}

/** The upload that the request begins or continues, and what of its body is checked. Throws what UploadSession does. */
async function uploadFor(
  head: UploadHead,
  config: UploadSettings,
  session: UploadSession,
): Promise<{ upload: Upload; part: BodyPart }> {
  const { range, total, contentDigests, fileDigests, isFramedSnappy, fileIdentity, sourceFormat } = head;
  if (range !== undefined && (range.start > 0 || session.status().state !== "idle")) {
    const upload = session.resume(range.start, range.total, fileIdentity);
    try {
      checkDeclaredBefore(upload.plan.checksums, fileDigests);
      checkSameFormat(upload.plan.sourceFormat, sourceFormat);
    } catch (error) {
      session.release();
      throw error;
    }
    return { upload, part: { length: range.length, endsFile: false, checksums: contentDigests } };
  }
  // The whole file in one request: both kinds of digest mean the same, and hold for what may have to be sent later.
  const isWhole = range === undefined || range.length === range.total;
  const declared = isWhole ? [...contentDigests, ...fileDigests] : fileDigests;
  const upload = await session.begin({
    total,
    checksums: mergeChecksums(config.checksums, declared),
    isFramedSnappy,
    fileIdentity,
    sourceFormat: sourceFormat ?? (await config.declaredFormat?.()),
  });
  return {
    upload,
    part: { length: range?.length, endsFile: range === undefined, checksums: isWhole ? [] : contentDigests },
  };
}

/** PUT and POST /upload: one image, as the raw body or as the first file of a form, in one request or continued. */
export function uploadHandler({ config, session, signal, secrets }: UploadRoutes) {
  const receive = async (
    request: FastifyRequest,
    reply: FastifyReply,
    upload: Upload,
    part: BodyPart,
  ): Promise<void> => {
    let reader: BodyReader;
    try {
      letBodyCome(request, reply);
      reader = new BodyReader(await fileOf(request), {
        request: request.raw,
        idleTimeout: config.uploadIdleTimeout * 1000,
      });
    } catch (error) {
      session.release();
      await session.discard(upload);
      throw error;
    }
    request.log.info({ bytes: part.length, offset: upload.offset, total: upload.total }, "upload begins");
    try {
      await session.receive(upload, reader, (from, to) => passOn(from, to, part));
    } catch (error) {
      // Nothing was sent: that is no verdict on a file.
      if (upload.offset === 0 && toDvcrError(error).code === "E_EMPTY") await session.discard(upload);
      throw error;
    }
  };
  /** The answer tells the verdict, if there is one by then. */
  const tellWith = (reply: FastifyReply): void => void reply.raw.once("finish", () => session.told());
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    if (signal.aborted) throw toDvcrError(signal.reason);
    const head = readHead(request);
    const leave = session.attend(() => !request.raw.socket.destroyed);
    try {
      let upload = head.range === undefined ? session.sameFile(head.total, head.fileDigests) : undefined;
      if (upload !== undefined) {
        tellWith(reply);
      } else {
        const begun = await uploadFor(head, config, session);
        upload = begun.upload;
        tellWith(reply);
        await receive(request, reply, upload, begun.part);
      }
      if (!upload.isWhole) {
        addStatusHeaders(reply, session.status(), secrets);
        return await reply.code(202).send(`received up to offset ${upload.offset}\n`);
      }
      return await answerReport(request, reply, await upload.result());
    } finally {
      leave();
    }
  };
}

/** HEAD /upload: how the upload stands, after a connection that is silent was ended. */
export function statusHandler({ session, secrets }: UploadRoutes) {
  return async (_request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    await session.endSilentConnection();
    addStatusHeaders(reply, session.status(), secrets);
    reply.raw.once("finish", () => session.told());
    return reply.send("");
  };
}
