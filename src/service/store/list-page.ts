/** Lists in pages, all pages as of the version of the first one. */
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { KubeObject, ResourceName } from "../model/object.ts";
import type { ObjectTables, ListPosition } from "./sqlite-tables.ts";
import type { ListOptions, ObjectList } from "./store.ts";

interface Token extends ListPosition {
  readonly version: number;
}

/** @throws DvcrError E_VERSION_EXPIRED where the log no longer reaches back to the first page, E_BAD_REQUEST. */
export function listPage(tables: ObjectTables, resource: ResourceName, options: ListOptions): ObjectList<KubeObject> {
  const token = options.continue === undefined ? undefined : parseToken(options.continue);
  const now = tables.fact("version");
  const version = token?.version ?? now;
  if (version < tables.fact("floor") || version > now)
    throw new DvcrError("E_VERSION_EXPIRED", "the list was begun too long ago to go on");
  const limit = options.limit === undefined || options.limit === 0 ? Infinity : options.limit;
  const past =
    token === undefined
      ? new Map<string, KubeObject | undefined>()
      : changedSince(tables, resource, options.namespace, version);
  const all = merged(tables, resource, options.namespace, token, past, limit + 1);
  const items = all.slice(0, limit);
  if (all.length <= limit) return { items, resourceVersion: String(version) };
  const last = placeOf(items.at(-1)!);
  const restored = [...past].map(([key, object]) => ({ key, object })).filter(({ key }) => key > keyOf(last));
  const there = restored.filter(({ key }) => tables.find({ resource, ...placeFrom(key) }) !== undefined).length;
  const before = restored.filter(({ object }) => object !== undefined).length;
  return {
    items,
    resourceVersion: String(version),
    continue: Buffer.from(JSON.stringify({ version, ...last } satisfies Token)).toString("base64url"),
    remaining: tables.count(resource, options.namespace, last) - there + before,
  };
}

/** Current rows without those that changed since, and what stood in their place then. */
function merged(
  tables: ObjectTables,
  resource: ResourceName,
  namespace: string | undefined,
  after: ListPosition | undefined,
  past: ReadonlyMap<string, KubeObject | undefined>,
  wanted: number,
): KubeObject[] {
  const rows = tables.page(resource, namespace, after, wanted === Infinity ? -1 : wanted + past.size);
  const kept = rows.filter((object) => !past.has(keyOf(placeOf(object))));
  const restored = [...past.values()].filter(
    (object) => object !== undefined && (after === undefined || keyOf(placeOf(object)) > keyOf(after)),
  );
  const all =
    restored.length === 0
      ? kept
      : [...kept, ...(restored as KubeObject[])].sort((a, b) => (keyOf(placeOf(a)) < keyOf(placeOf(b)) ? -1 : 1));
  return all.slice(0, wanted);
}

/** What each object that changed after `version` was then; undefined for one that was not there. */
function changedSince(
  tables: ObjectTables,
  resource: ResourceName,
  namespace: string | undefined,
  version: number,
): Map<string, KubeObject | undefined> {
  const past = new Map<string, KubeObject | undefined>();
  for (const { change } of tables.changesAfter(resource, version, -1)) {
    const place = placeOf(change.object);
    if (namespace !== undefined && place.namespace !== namespace) continue;
    if (!past.has(keyOf(place))) past.set(keyOf(place), change.previous);
  }
  return past;
}

function placeOf({ metadata }: KubeObject): ListPosition {
  return { namespace: metadata.namespace ?? "", name: metadata.name };
}

/** Sorts as SQLite sorts the pair: no name holds a character below "-". */
function keyOf({ namespace, name }: ListPosition): string {
  return `${namespace}\u0000${name}`;
}

function placeFrom(key: string): ListPosition {
  const [namespace = "", name = ""] = key.split("\u0000");
  return { namespace, name };
}

function parseToken(text: string): Token {
  try {
    const { version, namespace, name } = JSON.parse(Buffer.from(text, "base64url").toString("utf8")) as Record<
      string,
      unknown
    >;
    if (Number.isSafeInteger(version) && typeof namespace === "string" && typeof name === "string")
      return { version: version as number, namespace, name };
  } catch {
    // Told below.
  }
  throw new DvcrError("E_BAD_REQUEST", "the continue token is not one of this server");
}

/**
 * The version that a client names, between the oldest and the newest that are known.
 *
 * @throws DvcrError E_BAD_REQUEST, E_VERSION_EXPIRED.
 */
export function knownVersion(text: string, floor: number, newest: number): number {
  const since = /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  if (since === undefined) throw new DvcrError("E_BAD_REQUEST", "resourceVersion is not a version of this server");
  if (since < floor)
    throw new DvcrError(
      "E_VERSION_EXPIRED",
      `version ${since} is older than what is remembered, which begins at ${floor}`,
    );
  if (since > newest)
    throw new DvcrError("E_VERSION_EXPIRED", `version ${since} is not one of this store, which stands at ${newest}`);
  return since;
}
