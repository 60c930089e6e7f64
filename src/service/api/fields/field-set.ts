/**
 * Sets of field paths, as metadata.managedFields keeps them (FieldsV1). A path is the sequence of its keys: `f:NAME`
 * for a member, `k:{…}` for an item of a list by its key fields, `v:VALUE` for a member of a set.
 */
import { isFields, type Fields } from "../json.ts";

/** Keys joined by the separator. */
export type Path = string;
export type FieldSet = ReadonlySet<Path>;

/** No key can hold it: in JSON text it would be escaped, in names it is not allowed. */
const separator = "\u0000";

export const memberKey = (name: string): string => `f:${name}`;
export const below = (path: Path, key: string): Path => (path === "" ? key : path + separator + key);
export const keysOf = (path: Path): string[] => path.split(separator);

export function parentOf(path: Path): Path {
  const cut = path.lastIndexOf(separator);
  return cut < 0 ? "" : path.slice(0, cut);
}

/** `path` is `ancestor` or below of it. */
export const isWithin = (path: Path, ancestor: Path): boolean =>
  path === ancestor || path.startsWith(ancestor + separator);

export const union = (...sets: readonly FieldSet[]): FieldSet => new Set(sets.flatMap((set) => [...set]));
export const difference = (set: FieldSet, without: FieldSet): FieldSet =>
  new Set([...set].filter((path) => !without.has(path)));
export const intersection = (a: FieldSet, b: FieldSet): FieldSet => new Set([...a].filter((path) => b.has(path)));

/** As FieldsV1 writes it: `{}` for a field that is in the set, `"."` where fields below of it are too. */
export function toFieldsV1(set: FieldSet): Fields {
  const root = Object.create(null) as Fields;
  for (const path of [...set].sort()) {
    let node = root;
    for (const key of keysOf(path)) node = (node[key] ??= Object.create(null)) as Fields;
    node["."] = {};
  }
  return tidied(root);
}

function tidied(node: Fields): Fields {
  const names = Object.keys(node);
  if (names.length === 1 && names[0] === ".") return {};
  return Object.fromEntries(names.sort().map((name) => [name, name === "." ? {} : tidied(node[name] as Fields)]));
}

/** Characters of all paths of one set: a long name with many fields below it stands in each of their paths. */
const mostPathLength = 2 ** 21;

/** Throws TypeError for what is no FieldsV1, or too large a one. */
export function fromFieldsV1(fields: unknown): FieldSet {
  const set = new Set<Path>();
  let length = 0;
  const walk = (node: unknown, path: Path): void => {
    if (!isFields(node)) throw new TypeError("a field set consists of objects");
    const names = Object.keys(node);
    if (names.length === 0 && path !== "") set.add(path);
    for (const name of names) {
      if (name === ".") {
        if (path !== "") set.add(path);
      } else {
        if (!/^[fkvi]:/.test(name) || name.includes(separator)) throw new TypeError(`not a path element: ${name}`);
        const at = below(path, name);
        if ((length += at.length) > mostPathLength) throw new TypeError("a field set of that size is not read");
        walk(node[name], at);
      }
    }
  };
  walk(fields, "");
  return set;
}

/** `.spec.dataSource.http.url`, `.status.conditions[type="Ready"].reason` */
export function shownPath(path: Path): string {
  return keysOf(path).map(shownKey).join("");
}

function shownKey(key: string): string {
  const rest = key.slice(2);
  if (key.startsWith("f:")) return `.${rest}`;
  if (!key.startsWith("k:")) return `[=${rest}]`;
  const pairs = Object.entries(JSON.parse(rest) as Fields).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `[${pairs.join(",")}]`;
}
