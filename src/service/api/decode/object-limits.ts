/** What a whole object may hold, checked before anything that costs more than its bytes is done with it. */
import { fieldsOf, isFields, textOf, type Fields } from "../json.ts";
import type { ResourceType } from "../resource-types.ts";
import { invalidObject, StatusError, type InvalidProblem } from "../status.ts";
import { annotationBytes, mostItems, objectLimit } from "./limits.ts";
import { checkShape } from "./shape.ts";

/** Throws 400 and 413 for a value that is too deep or too large, 422 for metadata with too many items. */
export function checkLimits(type: ResourceType, object: Fields): void {
  checkShape(object);
  const metadata = fieldsOf(object, "metadata");
  const problems = [
    ...Object.entries(mostItems).flatMap(([name, most]) => tooManyItems(name, metadata[name], most)),
    ...tooLongAnnotations(fieldsOf(metadata, "annotations")),
  ];
  if (problems.length > 0) throw invalidObject(type, textOf(metadata["name"]), problems);
}

/** Throws 413 for an object that is larger than what is stored. */
export function checkSize(object: Fields): void {
  if (Buffer.byteLength(JSON.stringify(object)) <= objectLimit) return;
  throw new StatusError(
    413,
    "RequestEntityTooLarge",
    `Request entity too large: limit is ${objectLimit} for an object`,
  );
}

function tooManyItems(name: string, value: unknown, most: number): InvalidProblem[] {
  const count = Array.isArray(value) ? value.length : isFields(value) ? Object.keys(value).length : 0;
  if (count <= most) return [];
  const message = `Too many: ${count}: must have at most ${most} items`;
  return [{ field: `metadata.${name}`, reason: "FieldValueTooMany", message }];
}

function tooLongAnnotations(annotations: Fields): InvalidProblem[] {
  const size = Object.entries(annotations).reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(String(value)),
    0,
  );
  if (size <= annotationBytes) return [];
  const message = `Too long: may not be more than ${annotationBytes} bytes`;
  return [{ field: "metadata.annotations", reason: "FieldValueTooLong", message }];
}
