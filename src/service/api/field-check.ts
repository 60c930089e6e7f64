/** Fields that a body has and its kind has not, and fields that stand in it twice (`fieldValidation`). */
import { unknownFields } from "../model/structure.ts";
import type { Kind } from "../model/schemas.ts";
import { mostNamed } from "./decode/limits.ts";
import type { Fields } from "./json.ts";
import { unknownMetadata } from "./metadata.ts";
import type { WriteOptions } from "./request-options.ts";
import type { StatusError } from "./status.ts";

/**
 * What `fieldValidation` complains of, in the API server's words, the first hundred; `repeated`: as the body was
 * decoded.
 */
export function fieldComplaints(kind: Kind, object: Fields, repeated: readonly string[] = []): string[] {
  const unknown = [...unknownMetadata(object), ...unknownFields(kind, object)].map(
    (path) => `unknown field ${JSON.stringify(path)}`,
  );
  const twice = repeated.map((path) => `duplicate field ${JSON.stringify(path)}`);
  return [...twice, ...unknown].slice(0, mostNamed);
}

/** Adds the complaints to the answer's warnings, or throws what `refuse` makes of them, as the client wishes. */
export function heedComplaints(
  complaints: () => readonly string[],
  { fieldValidation }: WriteOptions,
  warnings: string[],
  refuse: (text: string) => StatusError,
): void {
  if (fieldValidation === "Ignore") return;
  const found = complaints();
  if (found.length === 0) return;
  if (fieldValidation === "Strict") throw refuse(`strict decoding error: ${found.join(", ")}`);
  warnings.push(...found);
}
