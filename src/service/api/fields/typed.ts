/**
 * Objects as their schema divides them into fields with owners of their own: members of objects one by one, lists as a
 * whole, unless the schema says that a list is a set or a map (Kubernetes: structured merge).
 */
import { isEmpty, isFields, sameJson, type Fields } from "../json.ts";
import { below, keysOf, memberKey, parentOf, type FieldSet, type Path } from "./field-set.ts";

/** What is read of a schema here. */
export interface FieldSchema {
  readonly properties?: Readonly<Record<string, FieldSchema>>;
  readonly additionalProperties?: FieldSchema;
  readonly items?: FieldSchema;
  readonly "x-kubernetes-list-type"?: "map" | "set" | "atomic";
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
  readonly "x-kubernetes-map-type"?: "atomic" | "granular";
}

interface Child {
  readonly key: string;
  readonly value: unknown;
  readonly schema: FieldSchema;
  /** Named by the schema, so that it exists without a value. */
  readonly declared: boolean;
}

const unknownSchema: FieldSchema = {};

function memberSchema(schema: FieldSchema, name: string): FieldSchema {
  const own =
    schema.properties !== undefined && Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
  return own ?? schema.additionalProperties ?? unknownSchema;
}

const isGranular = (value: unknown, schema: FieldSchema): value is Fields =>
  isFields(value) && schema["x-kubernetes-map-type"] !== "atomic";

const isKeyed = (value: unknown, schema: FieldSchema): value is unknown[] =>
  Array.isArray(value) && (schema["x-kubernetes-list-type"] === "map" || schema["x-kubernetes-list-type"] === "set");

function itemKey(item: unknown, schema: FieldSchema): string {
  if (schema["x-kubernetes-list-type"] === "set") return `v:${JSON.stringify(item)}`;
  const names = [...(schema["x-kubernetes-list-map-keys"] ?? [])].sort();
  const fields = isFields(item) ? item : {};
  return `k:${JSON.stringify(Object.fromEntries(names.map((name) => [name, fields[name]])))}`;
}

/** The fields that `value` consists of; nothing where it is a field as a whole. */
function childrenOf(value: unknown, schema: FieldSchema): Child[] | undefined {
  if (isGranular(value, schema)) {
    const declared = schema.properties ?? {};
    return Object.keys(value).map((name) => ({
      key: memberKey(name),
      value: value[name],
      schema: memberSchema(schema, name),
      declared: Object.hasOwn(declared, name),
    }));
  }
  if (!isKeyed(value, schema)) return undefined;
  return value.map((item) => ({
    key: itemKey(item, schema),
    value: item,
    schema: schema.items ?? unknownSchema,
    declared: false,
  }));
}

/** The fields that somebody who applies `value` has an opinion on. */
export function fieldsIn(value: unknown, schema: FieldSchema): FieldSet {
  const set = new Set<Path>();
  const walk = (node: unknown, nodeSchema: FieldSchema, path: Path): void => {
    for (const child of childrenOf(node, nodeSchema) ?? []) {
      const at = below(path, child.key);
      const isLeaf = childrenOf(child.value, child.schema) === undefined;
      if (isLeaf || isEmpty(child.value) || !child.declared) set.add(at);
      walk(child.value, child.schema, at);
    }
  };
  walk(value, schema, "");
  return set;
}

function childAt(node: unknown, schema: FieldSchema, key: string): { node: unknown; schema: FieldSchema } {
  const name = key.slice("f:".length);
  if (key.startsWith("f:"))
    return {
      node: isFields(node) && Object.hasOwn(node, name) ? node[name] : undefined,
      schema: memberSchema(schema, name),
    };
  return {
    node: Array.isArray(node) ? node.find((item) => itemKey(item, schema) === key) : undefined,
    schema: schema.items ?? unknownSchema,
  };
}

export interface Comparison {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}

/** What became of each field, containers included. */
export function compare(before: unknown, after: unknown, schema: FieldSchema): Comparison {
  const [added, modified, removed] = [new Set<Path>(), new Set<Path>(), new Set<Path>()];
  const addAll = (set: Set<Path>, node: unknown, nodeSchema: FieldSchema, path: Path): void => {
    set.add(path);
    for (const child of childrenOf(node, nodeSchema) ?? [])
      addAll(set, child.value, child.schema, below(path, child.key));
  };
  const walk = (old: unknown, next: unknown, nodeSchema: FieldSchema, path: Path): void => {
    const [oldChildren, nextChildren] = [childrenOf(old, nodeSchema), childrenOf(next, nodeSchema)];
    if (oldChildren === undefined || nextChildren === undefined) {
      if (!sameJson(old, next)) modified.add(path);
      return;
    }
    const olds = new Map(oldChildren.map((child) => [child.key, child]));
    for (const child of nextChildren) {
      const at = below(path, child.key);
      const counterpart = olds.get(child.key);
      olds.delete(child.key);
      if (counterpart === undefined) addAll(added, child.value, child.schema, at);
      else walk(counterpart.value, child.value, child.schema, at);
    }
    for (const child of olds.values()) addAll(removed, child.value, child.schema, below(path, child.key));
  };
  walk(before, after, schema, "");
  return { added, modified, removed };
}

/** `live` with every field of `config` as `config` has it. */
export function merge(live: unknown, config: unknown, schema: FieldSchema): unknown {
  if (isGranular(live, schema) && isGranular(config, schema)) {
    const merged: Fields = { ...live };
    for (const name of Object.keys(config))
      merged[name] = Object.hasOwn(live, name)
        ? merge(live[name], config[name], memberSchema(schema, name))
        : config[name];
    return merged;
  }
  if (isKeyed(live, schema) && isKeyed(config, schema)) {
    const wanted = new Map(config.map((item) => [itemKey(item, schema), item]));
    const kept = live.map((item) => {
      const key = itemKey(item, schema);
      const change = wanted.get(key);
      wanted.delete(key);
      return change === undefined ? item : merge(item, change, schema.items ?? unknownSchema);
    });
    return [...kept, ...wanted.values()];
  }
  return config;
}

/**
 * Removes the field at `path`, and above it the containers that became empty and are not in `kept`. Changes `value`.
 */
export function removeField(value: Fields, path: Path, schema: FieldSchema, kept: FieldSet): void {
  const keys = keysOf(path);
  const last = keys.pop()!;
  const container = keys.reduce<{ node: unknown; schema: FieldSchema }>(
    (parent, key) => childAt(parent.node, parent.schema, key),
    { node: value, schema },
  );
  if (isFields(container.node)) Reflect.deleteProperty(container.node, last.slice("f:".length));
  else if (Array.isArray(container.node)) {
    const index = container.node.findIndex((item) => itemKey(item, container.schema) === last);
    if (index >= 0) container.node.splice(index, 1);
  } else return;
  const parent = parentOf(path);
  // metadata is never taken away; nothing owns what is above it.
  if (parent !== "" && parent !== memberKey("metadata") && isEmpty(container.node) && !kept.has(parent))
    removeField(value, parent, schema, kept);
}
