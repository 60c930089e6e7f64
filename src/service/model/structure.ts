/** What a schema's structure alone says of an object: fields that it does not know, and defaults. */
import type { JsonSchema } from "./json-schema.ts";
import { schemas, type Kind } from "./schemas.ts";

type Fields = Record<string, unknown>;

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Paths of fields that the kind does not have, as `spec.dataSource.foo`, in order. metadata is not looked into. */
export function unknownFields(kind: Kind, object: unknown): string[] {
  const found: string[] = [];
  walk(schemas[kind], object, "", (path) => found.push(path));
  return found;
}

/** The object without the fields that its kind does not have, and with the defaults of those that are missing. */
export function structured<T>(kind: Kind, object: T): T {
  const copy = structuredClone(object);
  walk(schemas[kind], copy, "", (_path, parent, name) => Reflect.deleteProperty(parent, name));
  addDefaults(schemas[kind], copy);
  return copy;
}

function walk(
  schema: JsonSchema,
  value: unknown,
  path: string,
  onUnknown: (path: string, parent: Fields, name: string) => void,
): void {
  if (Array.isArray(value)) {
    if (schema.items !== undefined)
      value.forEach((item, index) => {
        walk(schema.items!, item, `${path}[${index}]`, onUnknown);
      });
    return;
  }
  if (!isFields(value) || schema.properties === undefined) return;
  for (const name of Object.keys(value)) {
    const at = path === "" ? name : `${path}.${name}`;
    const property = Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
    if (property !== undefined) walk(property, value[name], at, onUnknown);
    else if (schema["x-kubernetes-preserve-unknown-fields"] !== true) onUnknown(at, value, name);
  }
}

function addDefaults(schema: JsonSchema, value: unknown): void {
  if (!isFields(value)) return;
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (property.default !== undefined && value[name] === undefined) value[name] = property.default;
    addDefaults(property, value[name]);
  }
}
