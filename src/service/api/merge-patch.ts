/** JSON merge patch (RFC 7396), JSON patch (RFC 6902), and what kubectl needs of strategic merge patch. */
import { applyPatch, Pointer, type Operation } from "rfc6902";

import { isFields, sameJson, type Fields } from "./json.ts";
import { badRequest, StatusError } from "./status.ts";
import type { ApiSchema } from "./openapi/meta-schemas.ts";

/** RFC 7396, section 2. Neither argument is changed. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isFields(patch)) return patch;
  const merged: Fields = isFields(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) Reflect.deleteProperty(merged, name);
    else merged[name] = mergePatch(Object.hasOwn(merged, name) ? merged[name] : undefined, value);
  }
  return merged;
}

const mostOperations = 10_000;
/** A copy can double an object: that many operations of a few bytes would fill any memory. */
const mostCopies = 16;
const largestCopied = 1 << 20;

/** Does one operation. `copied`: what the ones before have copied. */
function applyOne(target: Fields, operation: Operation, copied: { count: number; length: number }): boolean {
  if (operation.op === "copy") {
    copied.count += 1;
    copied.length += JSON.stringify(Pointer.fromJSON(operation.from).get(target) ?? null).length;
    if (copied.count > mostCopies || copied.length > largestCopied)
      throw new StatusError(413, "RequestEntityTooLarge", "the JSON patch copies too much");
  }
  return applyPatch(target, [operation])[0] === null;
}

/** RFC 6902. Throws 400 for what is no patch, 422 where an operation cannot be done. */
export function jsonPatch(target: Fields, operations: unknown): Fields {
  if (
    !Array.isArray(operations) ||
    !operations.every((one) => isFields(one) && typeof one["op"] === "string" && typeof one["path"] === "string")
  )
    throw badRequest("a JSON patch is a list of operations with op and path");
  if (operations.length > mostOperations) {
    throw new StatusError(
      413,
      "RequestEntityTooLarge",
      `The allowed maximum operations in a JSON patch is ${mostOperations}, got ${operations.length}`,
    );
  }
  const pointers = operations.flatMap((one: Fields) => [
    one["path"],
    ...(one["op"] === "copy" || one["op"] === "move" ? [one["from"]] : []),
  ]);
  if (!pointers.every((pointer) => pointer === "" || (typeof pointer === "string" && pointer.startsWith("/"))))
    throw badRequest("a path of a JSON patch begins with a slash");
  const patched = structuredClone(target);
  const copied = { count: 0, length: 0 };
  const isDone = (operations as Operation[]).every((operation) => applyOne(patched, operation, copied));
  if (!isDone)
    throw new StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {});
  return patched;
}

/**
 * Merge patch with the directives that kubectl writes: `$patch`, `$deleteFromPrimitiveList/…`, `$setElementOrder/…` and
 * `$retainKeys`. Lists are merged where the schema says so, else replaced.
 */
export function strategicMergePatch(target: unknown, patch: unknown, schema: ApiSchema): unknown {
  if (!isFields(patch)) return patch;
  if (patch["$patch"] === "delete") return undefined;
  const isReplaced = patch["$patch"] === "replace";
  const merged: Fields = isFields(target) && !isReplaced ? { ...target } : {};
  const retained = patch["$retainKeys"];
  if (Array.isArray(retained))
    for (const name of Object.keys(merged)) if (!retained.includes(name)) Reflect.deleteProperty(merged, name);
  for (const [name, value] of Object.entries(patch)) {
    const [directive, member] = name.startsWith("$")
      ? [name.split("/")[0], name.slice(name.indexOf("/") + 1)]
      : [undefined, name];
    if (directive === "$deleteFromPrimitiveList") {
      if (Array.isArray(merged[member]) && Array.isArray(value))
        merged[member] = merged[member].filter((item) => !value.includes(item));
    } else if (directive !== undefined) continue;
    else if (value === null) Reflect.deleteProperty(merged, name);
    else {
      const result = mergeMember(
        Object.hasOwn(merged, name) ? merged[name] : undefined,
        value,
        memberSchema(schema, name),
      );
      if (result === undefined) Reflect.deleteProperty(merged, name);
      else merged[name] = result;
    }
  }
  return merged;
}

const memberSchema = (schema: ApiSchema, name: string): ApiSchema =>
  (schema.properties !== undefined && Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined) ??
  schema.additionalProperties ??
  {};

function mergeMember(target: unknown, value: unknown, schema: ApiSchema): unknown {
  if (!Array.isArray(value)) return strategicMergePatch(target, value, schema);
  const key = schema["x-kubernetes-patch-merge-key"];
  if (!Array.isArray(target) || schema["x-kubernetes-patch-strategy"] !== "merge") return value;
  if (typeof key !== "string")
    return [
      ...(target as unknown[]),
      ...(value as unknown[]).filter((item) => !target.some((one) => sameJson(one, item))),
    ];
  const items = new Map((target as Fields[]).map((item) => [item[key], item]));
  for (const item of value as Fields[]) {
    const result = strategicMergePatch(items.get(item[key]), item, schema.items ?? {});
    if (result === undefined) items.delete(item[key]);
    else items.set(item[key], result as Fields);
  }
  return [...items.values()];
}
