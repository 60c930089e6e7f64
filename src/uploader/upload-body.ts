import type { Readable } from "node:stream";
import type { FastifyRequest } from "fastify";
import { DvcrError } from "../errors/dvcr-error.ts";

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

/** The bytes of the file: the raw body, or the first file of a form. Throws E_BAD_REQUEST for a form without one. */
export async function fileOf(request: FastifyRequest): Promise<Readable> {
  if (!request.isMultipart()) return request.raw;
  const part = await request.file();
  if (part === undefined) throw new DvcrError("E_BAD_REQUEST", "the form holds no file");
  return part.file;
}
