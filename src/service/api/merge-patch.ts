/** JSON merge patch (RFC 7396), and what kubectl needs of strategic merge patch. */
import { isFields, type Fields } from "./json.ts";
import { badRequest } from "./status.ts";
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

/**
 * Merge patch with the directives that kubectl writes: `$patch`, `$deleteFromPrimitiveList/…`, `$setElementOrder/…` and
 * `$retainKeys`. Lists are merged where the schema says so, else replaced.
 */
export function strategicMergePatch(target: unknown, patch: unknown, schema: ApiSchema): unknown {
  if (!isFields(patch)) return patch;
  const directive = patch["$patch"] ?? "merge";
  if (directive === "delete") return undefined;
  const isReplaced = directive === "replace";
  if (!isReplaced && directive !== "merge")
    throw badRequest(`Unknown patch type found: ${JSON.stringify(directive)}; it is delete, replace or merge`);
  const merged: Fields = isFields(target) && !isReplaced ? { ...target } : {};
  const retained = patch["$retainKeys"];
  if (Array.isArray(retained)) {
    const names = new Set<unknown>(retained);
    for (const name of Object.keys(merged)) if (!names.has(name)) Reflect.deleteProperty(merged, name);
  }
  for (const [name, value] of Object.entries(patch)) {
    const [asked, member] = name.startsWith("$")
      ? [name.split("/")[0], name.slice(name.indexOf("/") + 1)]
      : [undefined, name];
    if (asked === "$deleteFromPrimitiveList") {
      const removed = new Set<unknown>(Array.isArray(value) ? value : []);
      const list = Object.hasOwn(merged, member) ? merged[member] : undefined;
      if (Array.isArray(list)) merged[member] = list.filter((item) => !removed.has(item));
    } else if (asked !== undefined) continue;
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
  if (typeof key !== "string") {
    const known = new Set(target.map((item) => JSON.stringify(item)));
    return [...(target as unknown[]), ...(value as unknown[]).filter((item) => !known.has(JSON.stringify(item)))];
  }
  const items = new Map(fieldsIn(target).map((item) => [item[key], item]));
  for (const item of fieldsIn(value)) {
    const result = strategicMergePatch(items.get(item[key]), item, schema.items ?? {});
    if (result === undefined) items.delete(item[key]);
    else items.set(item[key], result as Fields);
  }
  return [...items.values()];
}

/** Throws 400 for an item that has no key to be merged by. */
function fieldsIn(list: readonly unknown[]): readonly Fields[] {
  if (!list.every(isFields)) throw badRequest("a list that is merged by a key holds an item that is not an object");
  return list;
}
