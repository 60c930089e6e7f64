/** Who owns which field of an object (metadata.managedFields). */
import type { ManagedFields } from "../../model/object.ts";
import { at, isFields, type Fields } from "../json.ts";
import type { StatusCause } from "../status.ts";
import { StatusError } from "../status.ts";
import {
  difference,
  fromFieldsV1,
  intersection,
  isWithin,
  memberKey,
  below,
  parentOf,
  shownPath,
  toFieldsV1,
  union,
  type FieldSet,
} from "./field-set.ts";
import { compare, fieldsIn, merge, removeField, type Comparison, type FieldSchema } from "./typed.ts";

/** Who changes the object. */
export interface Manager {
  readonly name: string;
  readonly apiVersion: string;
  readonly subresource: "" | "status";
}

interface Owner {
  readonly manager: string;
  readonly operation: "Apply" | "Update";
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string;
  readonly fields: FieldSet;
}

const meta = memberKey("metadata");

/** Fields that nobody owns: they name the object or belong to the server. */
const unowned: FieldSet = new Set([
  memberKey("apiVersion"),
  memberKey("kind"),
  meta,
  ...[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
  ].map((name) => below(meta, memberKey(name))),
]);

const status = memberKey("status");

function ownable(set: FieldSet, { subresource }: Pick<Manager, "subresource">): FieldSet {
  return new Set(
    [...set].filter(
      (path) =>
        !unowned.has(path) &&
        !isWithin(path, below(meta, memberKey("managedFields"))) &&
        isWithin(path, status) === (subresource === "status"),
    ),
  );
}

/** Nothing for entries that cannot be read. */
function ownersIn(entries: unknown): Owner[] | undefined {
  if (!Array.isArray(entries)) return undefined;
  try {
    return entries.map((entry: unknown): Owner => {
      if (!isFields(entry) || (entry["operation"] !== "Apply" && entry["operation"] !== "Update"))
        throw new TypeError("no entry of managedFields");
      const text = (name: string): string => (typeof entry[name] === "string" ? entry[name] : "");
      return {
        manager: text("manager"),
        operation: entry["operation"],
        apiVersion: text("apiVersion"),
        subresource: text("subresource"),
        time: text("time"),
        fields: fromFieldsV1(entry["fieldsV1"] ?? {}),
      };
    });
  } catch {
    return undefined;
  }
}

function toEntries(owners: readonly Owner[]): ManagedFields[] {
  const byOrder = (a: Owner, b: Owner) =>
    compareText(a.operation, b.operation) ||
    compareText(a.time, b.time) ||
    compareText(a.manager, b.manager) ||
    compareText(a.subresource, b.subresource);
  return owners
    .filter(({ fields }) => fields.size > 0)
    .sort(byOrder)
    .map(({ manager, operation, apiVersion, subresource, time, fields }) => ({
      manager,
      operation,
      apiVersion,
      time,
      fieldsType: "FieldsV1",
      fieldsV1: toFieldsV1(fields),
      ...(subresource === "" ? {} : { subresource }),
    }));
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const sameSet = (a: FieldSet, b: FieldSet): boolean => a.size === b.size && [...a].every((path) => b.has(path));

/** `owners` with the fields of this one, whose time stays where they do. */
function withOwner(owners: readonly Owner[], own: Omit<Owner, "time">, now: string): Owner[] {
  const isOwn = isSameOwner(own);
  const before = owners.find(isOwn);
  const time = before !== undefined && sameSet(before.fields, own.fields) ? before.time : now;
  return [...owners.filter((owner) => !isOwn(owner)), { ...own, time }];
}

const isSameOwner = (own: Omit<Owner, "time" | "fields">) => (owner: Owner) =>
  owner.manager === own.manager &&
  owner.operation === own.operation &&
  owner.apiVersion === own.apiVersion &&
  owner.subresource === own.subresource;

const changedBy = ({ added, modified }: Comparison): FieldSet => union(added, modified);

/**
 * The managedFields after an update from `live` (missing: it is created) to `next`: what changed belongs to `manager`
 * alone. `next` may carry managedFields of its own, an empty list of which forgets all owners.
 */
export function ownersAfterUpdate(
  live: Fields | undefined,
  next: Fields,
  manager: Manager,
  schema: FieldSchema,
  now: string,
): ManagedFields[] {
  const given = at(next, "metadata", "managedFields");
  if (
    Array.isArray(given) &&
    (given.length === 0 || (given.length === 1 && isFields(given[0]) && Object.keys(given[0]).length === 0))
  )
    return [];
  const base =
    (Array.isArray(given) ? ownersIn(given) : undefined) ?? ownersIn(at(live, "metadata", "managedFields")) ?? [];
  const comparison = compare(live ?? {}, next, schema);
  const changed = ownable(changedBy(comparison), manager);
  const identity = {
    manager: manager.name,
    operation: "Update",
    apiVersion: manager.apiVersion,
    subresource: manager.subresource,
  } as const;
  const isOwn = isSameOwner(identity);
  const kept = base.map((owner) => ({
    ...owner,
    fields: difference(owner.fields, isOwn(owner) ? comparison.removed : union(comparison.removed, changed)),
  }));
  const before = kept.find(isOwn)?.fields ?? new Set();
  const fields = union(before, changed);
  if (sameSet(fields, base.find(isOwn)?.fields ?? new Set())) return toEntries(kept);
  return toEntries([...kept.filter((owner) => !isOwn(owner)), { ...identity, fields, time: now }]);
}

export interface Applied {
  readonly object: Fields;
  readonly managedFields: ManagedFields[];
}

/**
 * Server-side apply of `config` over `live` (missing: it is created). Throws 409 where others own what it changes,
 * unless forced.
 */
export function apply(
  live: Fields | undefined,
  config: Fields,
  manager: Manager,
  schema: FieldSchema,
  options: { readonly force: boolean; readonly now: string },
): Applied {
  const owners = ownersIn(at(live, "metadata", "managedFields")) ?? [];
  const identity = {
    manager: manager.name,
    operation: "Apply",
    apiVersion: manager.apiVersion,
    subresource: manager.subresource,
  } as const;
  const isOwn = isSameOwner(identity);
  const others = owners.filter((owner) => !isOwn(owner));
  const fields = ownable(fieldsIn(config, schema), manager);
  const object = merge(structuredClone(live ?? {}), config, schema) as Fields;
  removeAbandoned(
    object,
    owners.find(isOwn)?.fields ?? new Set(),
    union(fields, ...others.map((owner) => owner.fields)),
    schema,
  );

  const comparison = compare(live ?? {}, object, schema);
  const changed = ownable(changedBy(comparison), manager);
  const conflicts = others
    .map((owner) => ({ owner, fields: intersection(owner.fields, changed) }))
    .filter((one) => one.fields.size > 0);
  if (conflicts.length > 0 && !options.force) throw applyConflict(conflicts);
  const lost = union(comparison.removed, ...conflicts.map((one) => one.fields));
  const kept = owners.map((owner) => (isOwn(owner) ? owner : { ...owner, fields: difference(owner.fields, lost) }));
  return { object, managedFields: toEntries(withOwner(kept, { ...identity, fields }, options.now)) };
}

/** Takes out of `object` what its applier owned before and nobody wants any more. */
function removeAbandoned(object: Fields, before: FieldSet, wanted: FieldSet, schema: FieldSchema): void {
  const withContainers = new Set<string>();
  for (const path of wanted)
    for (let one = path; one !== "" && !withContainers.has(one); one = parentOf(one)) withContainers.add(one);
  for (const path of before) if (!withContainers.has(path)) removeField(object, path, schema, wanted);
}

function applyConflict(conflicts: readonly { readonly owner: Owner; readonly fields: FieldSet }[]): StatusError {
  const all = conflicts.map(({ owner, fields }) => ({
    who: shownOwner(owner),
    paths: [...fields].map(shownPath).sort(),
  }));
  const causes: StatusCause[] = all.flatMap(({ who, paths }) =>
    paths.map((field) => ({ reason: "FieldManagerConflict", message: `conflict with ${who}`, field })),
  );
  const text =
    causes.length === 1
      ? `conflict with ${all[0]!.who}: ${all[0]!.paths[0]!}`
      : all
          .map(({ who, paths }) => `conflicts with ${who}:\n${paths.map((path) => `- ${path}`).join("\n")}`)
          .join("\n");
  return new StatusError(
    409,
    "Conflict",
    `Apply failed with ${causes.length} conflict${causes.length === 1 ? "" : "s"}: ${text}`,
    { causes },
  );
}

function shownOwner({ manager, operation, apiVersion, subresource, time }: Owner): string {
  const who = JSON.stringify(manager) + (subresource === "" ? "" : ` with subresource ${JSON.stringify(subresource)}`);
  if (operation === "Apply") return who;
  return `${who} using ${apiVersion}${time === "" ? "" : ` at ${time}`}`;
}
