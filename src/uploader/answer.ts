import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import type { FastifyReply, FastifyRequest } from "fastify";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import { redactText } from "../log/redact.ts";
import type { ImportReport } from "../pipeline/import-image.ts";
import { BodyReader } from "./body-reader.ts";
import { announcesBody, isHeldBack } from "./continue.ts";
import { addResultHeaders } from "./status-answer.ts";

/** How much of a refused body is still taken, so that its sender comes to read the answer. */
const drainMilliseconds = 10_000;
/** A client that sends nothing for so long is done or reads. */
const drainIdleMilliseconds = 2000;
const drainBytes = 256 * 2 ** 20;
const retryAfterSeconds = 10;

/** True when the client asks for JSON; curl and the like get a line of text. */
function wantsJson(request: FastifyRequest): boolean {
  return /\bapplication\/(?:problem\+)?json\b/i.test(request.headers.accept ?? "");
}

/** True when the request announced a body whose end has not come yet. */
function isIncomplete(request: IncomingMessage): boolean {
  return !request.complete && announcesBody(request);
}

/** True when more of the body may still come. */
function isUnfinished(request: IncomingMessage): boolean {
  return isIncomplete(request) && !request.destroyed && !isHeldBack(request);
}

/**
 * The answer, then nothing until the client has ended or closed, or the bounds are reached. An early close with data
 * under way resets the connection, and the client would see that reset in place of the answer.
 */
async function* answerAndDrain(text: string, request: IncomingMessage): AsyncGenerator<string> {
  yield text;
  request.unpipe();
  const reader = new BodyReader(request, { request, idleTimeout: drainIdleMilliseconds });
  const timer = setTimeout(() => reader.stop(), drainMilliseconds);
  try {
    let taken = 0;
    for await (const chunk of reader) if ((taken += chunk.length) > drainBytes) break;
  } catch {
    // The client has closed: it has its answer.
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Sends `text` so that its reader gets it although it may still be sending: the rest of its body is taken, within
 * bounds.
 */
export function answerText(
  request: FastifyRequest,
  reply: FastifyReply,
  contentType: string,
  text: string,
): FastifyReply {
  void reply.header("content-type", contentType).header("cache-control", "no-store");
  if (!isIncomplete(request.raw)) return reply.send(text);
  void reply.header("connection", "close").header("content-length", Buffer.byteLength(text));
  if (!isUnfinished(request.raw)) return reply.send(text);
  // Without a byte to send, the head would wait until the client has ended.
  if (text === "")
    reply.raw.once("pipe", () => {
      reply.raw.flushHeaders();
    });
  return reply.send(Readable.from(answerAndDrain(text, request.raw)));
}

/** An error of fastify or of its plugins as one of ours. */
function asDvcrError(error: unknown): DvcrError {
  const status = (error as { statusCode?: unknown }).statusCode;
  const isRequestError = typeof status === "number" && status >= 400 && status < 500;
  if (isRequestError && error instanceof Error && !(error instanceof DvcrError)) {
    return new DvcrError("E_BAD_REQUEST", error.message, { cause: error });
  }
  return toDvcrError(error);
}

/** Sends `error` as RFC 9457 problem details or as one line, with the catalogue's status. */
export function answerError(
  request: FastifyRequest,
  reply: FastifyReply,
  thrown: unknown,
  secrets: readonly string[],
): FastifyReply {
  const error = asDvcrError(thrown);
  const { entry } = error;
  void reply.code(entry.status);
  if (entry.status === 503) void reply.header("retry-after", retryAfterSeconds);
  if (!wantsJson(request))
    return answerText(request, reply, "text/plain; charset=utf-8", `${redactText(error.toLine(), secrets)}\n`);
  const problem = {
    type: `urn:dvcr:error:${error.code}`,
    title: entry.title,
    status: entry.status,
    detail: redactText(error.message, secrets),
    instance: `urn:dvcr:request:${request.id}`,
    code: error.code,
    retryable: error.mayPass,
    fix: error.fix,
  };
  return answerText(request, reply, "application/problem+json", `${JSON.stringify(problem)}\n`);
}

/** Sends the report of a stored image, as JSON or as one line. */
export function answerReport(request: FastifyRequest, reply: FastifyReply, report: ImportReport): FastifyReply {
  void reply.code(200);
  addResultHeaders(reply, report);
  if (wantsJson(request))
    return answerText(request, reply, "application/json; charset=utf-8", `${JSON.stringify(report)}\n`);
  const line =
    `stored ${report.image}@${report.manifestDigest}: ${report.sourceFormat} as ` +
    `${report.format}, ${report.virtualSize} bytes, ${report.storedSize} in the registry\n`;
  return answerText(request, reply, "text/plain; charset=utf-8", line);
}
