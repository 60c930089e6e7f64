import type { Readable } from "node:stream";
import type { FastifyRequest } from "fastify";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";

/** Content-Length in bytes, where there is one. */
export function contentLength(request: FastifyRequest): number | undefined {
  const length = request.headers["content-length"];
  return length === undefined ? undefined : Number(length);
}

/** The header's text; several of one name are one list. */
export function headerText(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return value === undefined ? undefined : [value].flat().join(",");
}

/** RFC 2046, section 5.1.1. */
const longestBoundary = 70;

/** Throws E_BAD_REQUEST for a form whose boundary is missing or too long, so that its parts cannot be told apart. */
export function checkBoundary(request: FastifyRequest): void {
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]*)"|([^\s;"]*))/i.exec(request.headers["content-type"] ?? "") ?? [];
  const { length } = quoted ?? plain ?? "";
  if (length > 0 && length <= longestBoundary) return;
  const what =
    length === 0 ? "has no boundary" : `has a boundary of ${length} characters, more than ${longestBoundary}`;
  throw new DvcrError("E_BAD_REQUEST", `the form ${what}; let the client write its Content-Type itself`);
}

/**
 * The bytes of the file: the raw body, or the first file of a form. Throws E_BAD_REQUEST for a form without one or that
 * cannot be read, E_CLIENT_GONE for one that was cut before it.
 */
export async function fileOf(request: FastifyRequest): Promise<Readable> {
  if (!request.isMultipart()) return request.raw;
  const part = await request.file().catch((error: unknown) => {
    if (!request.raw.complete)
      throw new DvcrError("E_CLIENT_GONE", "the client closed the connection before the form's file", { cause: error });
    throw new DvcrError("E_BAD_REQUEST", `the form cannot be read: ${toDvcrError(error).message}`, { cause: error });
  });
  if (part === undefined) throw new DvcrError("E_BAD_REQUEST", "the form holds no file");
  return part.file;
}
