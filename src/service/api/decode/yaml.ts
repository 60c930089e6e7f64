/** YAML 1.2 as bodies of requests and as answers. */
import { CORE_SCHEMA, defineMappingTag, dump, load } from "js-yaml";

import { isFields, type Fields } from "../json.ts";
import { StatusError } from "../status.ts";
import { deepest, mostNamed, yamlLimit } from "./limits.ts";
import { checkShape } from "./shape.ts";

interface Decoded {
  readonly value: unknown;
  /** Paths of members that stand in one mapping twice; the last one counts. */
  readonly repeated: readonly string[];
}

interface Mapping {
  readonly fields: Fields;
  readonly repeated: Set<string>;
}

/** Throws 413 for what is too long to be read on the event loop, and the parser's error for what is no YAML. */
export function decodeYaml(text: string): Decoded {
  if (text.length > yamlLimit)
    throw new StatusError(
      413,
      "RequestEntityTooLarge",
      `Request entity too large: limit is ${yamlLimit} for YAML; send JSON`,
    );
  const repeatedIn = new Map<Fields, ReadonlySet<string>>();
  const schema = CORE_SCHEMA.withTags(mappingTag(repeatedIn));
  const value = load(text, { schema, maxDepth: deepest });
  // Before anything walks it: aliases can nest deeper than the text does.
  checkShape(value);
  return { value, repeated: repeatedIn.size === 0 ? [] : pathsOf(value, repeatedIn) };
}

/** js-yaml ends at the first repeated name; here all of them are noted in `repeatedIn` and the last one counts. */
const mappingTag = (repeatedIn: Map<Fields, ReadonlySet<string>>) =>
  defineMappingTag<Mapping, Fields>("tag:yaml.org,2002:map", {
    create: () => ({ fields: {}, repeated: new Set() }),
    addPair: ({ fields, repeated }, key, value) => {
      if (typeof key === "object" && key !== null) return "a field's name is text";
      const name = String(key);
      if (Object.hasOwn(fields, name)) repeated.add(name);
      Object.defineProperty(fields, name, { value, enumerable: true, configurable: true, writable: true });
      return "";
    },
    has: () => false,
    keys: (fields) => Object.keys(fields),
    get: (fields, key) => (Object.hasOwn(fields, String(key)) ? fields[String(key)] : null),
    finalize: ({ fields, repeated }) => {
      if (repeated.size > 0) repeatedIn.set(fields, repeated);
      return fields;
    },
    identify: isFields,
    represent: (fields) => new Map(Object.entries(fields as Fields)),
  });

/** A value that aliases repeat is walked once. */
function pathsOf(root: unknown, repeatedIn: ReadonlyMap<Fields, ReadonlySet<string>>): string[] {
  const found: string[] = [];
  const seen = new Set<unknown>();
  const walk = (node: unknown, path: string): void => {
    if (typeof node !== "object" || node === null || seen.has(node) || found.length >= mostNamed) return;
    seen.add(node);
    const below = (name: string): string => (path === "" ? name : `${path}.${name}`);
    if (Array.isArray(node))
      node.forEach((item, index) => {
        walk(item, `${path}[${String(index)}]`);
      });
    else {
      for (const name of repeatedIn.get(node as Fields) ?? []) found.push(below(name));
      for (const [name, member] of Object.entries(node)) walk(member, below(name));
    }
  };
  walk(root, "");
  return found.slice(0, mostNamed);
}

/** An answer as YAML; equal parts are written out, never as aliases. */
export const encodeYaml = (value: unknown): string => dump(value, { noRefs: true, lineWidth: -1 });
