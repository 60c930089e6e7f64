/** Plain JSON values, as requests bring them. */
export type Fields = Record<string, unknown>;

export const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const isEmpty = (value: unknown): boolean =>
  Array.isArray(value) ? value.length === 0 : isFields(value) && Object.keys(value).length === 0;

/** The member `name` where it is an object, else an empty one that does not belong to `parent`. */
export function fieldsOf(parent: unknown, name: string): Fields {
  const value = isFields(parent) ? parent[name] : undefined;
  return isFields(value) ? value : {};
}

/** The value at a path of names; nothing where the path ends before. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (found, name) => (isFields(found) && Object.hasOwn(found, name) ? found[name] : undefined),
    value,
  );
}

/** A copy of `object` that lacks these members. */
export function without<T extends object, N extends keyof T & string>(object: T, ...names: readonly N[]): Omit<T, N> {
  const copy: Partial<T> = { ...object };
  for (const name of names) Reflect.deleteProperty(copy, name);
  return copy as Omit<T, N>;
}

export const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** Equal as JSON; the order of members does not count. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((item, index) => sameJson(item, b[index]));
  if (!isFields(a) || !isFields(b)) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && sameJson(a[name], b[name]))
  );
}
