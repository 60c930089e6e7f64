/** The format that a client, or the owner of an upload, declares a file to have. */
import type { FastifyRequest } from "fastify";
import { SOURCE_FORMATS } from "../config/image-defaults.ts";
import { choice } from "../config/kinds.ts";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import { headerText } from "./upload-body.ts";

export type SourceFormat = (typeof SOURCE_FORMATS)[number];

const formats = choice(...SOURCE_FORMATS);

/** `text` as a source format; `where` says what held it. Throws E_BAD_REQUEST with the list of formats. */
export function parseSourceFormat(text: string, where: string): SourceFormat {
  const format = formats.parse(text);
  if (format !== undefined) return format;
  const got = JSON.stringify(text.slice(0, 40));
  throw new DvcrError("E_BAD_REQUEST", `${where} is ${got}, expected ${formats.expected}`);
}

/**
 * What the request declares, by the header DVCR-Source-Format or, for clients that can set none, the query parameter
 * `source-format`. Throws E_BAD_REQUEST for an unknown format, and where the two differ.
 */
export function sourceFormatOf(request: FastifyRequest): SourceFormat | undefined {
  const header = headerText(request, "dvcr-source-format");
  const query = (request.query as Readonly<Record<string, string | string[] | undefined>>)["source-format"];
  const declared = [
    ...(header === undefined ? [] : [parseSourceFormat(header, "the header dvcr-source-format")]),
    ...(query === undefined ? [] : [query].flat().map((one) => parseSourceFormat(one, "the parameter source-format"))),
  ];
  if (new Set(declared).size > 1)
    throw new DvcrError("E_BAD_REQUEST", `the request declares several source formats: ${declared.join(", ")}`);
  return declared[0];
}

/** Throws E_BAD_REQUEST when a request that continues an upload declares another format than the upload began with. */
export function checkSameFormat(begun: SourceFormat | undefined, declared: SourceFormat | undefined): void {
  if (declared === undefined || declared === begun) return;
  throw new DvcrError(
    "E_BAD_REQUEST",
    `the request declares ${declared}, the upload began with ${begun ?? "no format"} declared; ` +
      "send the file from its beginning",
  );
}

/** `running`, where the refusal of an undeclared fixed VHD says how to declare one at this very door. */
export async function withVhdFix<T>(running: Promise<T>, fix: string): Promise<T> {
  try {
    return await running;
  } catch (thrown) {
    const error = toDvcrError(thrown);
    throw error.code === "E_UNDECLARED_FIXED_VHD"
      ? new DvcrError(error.code, error.message, { cause: error, fix })
      : error;
  }
}
