/** metadata of the objects that clients send. */
import { randomInt } from "node:crypto";

import { isBase64 } from "../model/patterns.ts";
import { at, fieldsOf, isFields, textOf, type Fields } from "./json.ts";
import { objectMeta, type ApiSchema } from "./openapi/meta-schemas.ts";
import { apiVersionOf, schemaOf, type ResourceType } from "./resource-types.ts";
import { isLabelName, isLabelValue } from "./selectors.ts";
import { badRequest, forbiddenField, invalidField, type InvalidProblem } from "./status.ts";

/** The annotation in which `kubectl apply` notes what it was given. */
export const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";

const nameAlphabet = "bcdfghjklmnpqrstvwxz2456789";
const suffixLength = 5;

/** Completes metadata.generateName where there is no name. */
export function generateName(metadata: Fields, longest: number): void {
  const [name, prefix] = [metadata["name"], textOf(metadata["generateName"])];
  if (prefix === "" || (name !== undefined && name !== "")) return;
  const suffix = Array.from({ length: suffixLength }, () => nameAlphabet[randomInt(nameAlphabet.length)]!).join("");
  metadata["name"] = prefix.slice(0, longest - suffixLength) + suffix;
}

/** Where the request's path says the object is. */
export interface RequestTarget {
  readonly type: ResourceType;
  /** "" for cluster-wide resources. */
  readonly namespace: string;
  /** "" in a create. */
  readonly name: string;
}

/** Completes kind and version of the API server's own kinds; a custom resource must say what it is. */
function completeType(object: Fields, type: ResourceType): void {
  if (type.custom) return;
  object["apiVersion"] ||= apiVersionOf(type);
  object["kind"] ||= type.kind;
}

/** Why this is no object of that type, its spec left aside; a custom resource of another kind is one, and invalid. */
export function undecodable(object: Fields, type: ResourceType): string | undefined {
  const apiVersion = apiVersionOf(type);
  completeType(object, type);
  const kind = textOf(object["kind"]);
  if (kind === "") return "Object 'Kind' is missing in the body of the request";
  if (kind !== type.kind && !type.custom)
    return `the kind in the data (${kind}) does not match the expected kind (${type.kind})`;
  if (object["apiVersion"] !== apiVersion)
    return (
      `the API version in the data (${textOf(object["apiVersion"])}) does not match the expected ` +
      `API version (${apiVersion})`
    );
  const wrong =
    wrongType(object["metadata"], objectMeta, "metadata") ??
    (type.custom ? undefined : wrongType({ ...object, metadata: undefined }, schemaOf(type), type.kind));
  return wrong === undefined
    ? undefined
    : `${type.kind} in version ${JSON.stringify(type.version)} cannot be handled as a ` +
        `${type.kind}: json: cannot unmarshal ${wrong}`;
}

/** Throws 400 where it is not the object that the request's path names. Completes what may be missing. */
export function settleIdentity(object: Fields, { type, namespace, name }: RequestTarget): void {
  const why = undecodable(object, type);
  if (why !== undefined) throw badRequest(why);
  const metadata = (object["metadata"] ??= {}) as Fields;
  if (type.namespaced) {
    metadata["namespace"] ||= namespace;
    if (metadata["namespace"] !== namespace)
      throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
  } else delete metadata["namespace"];
  if (name === "") return;
  metadata["name"] ??= name;
  if (metadata["name"] !== name)
    throw badRequest(
      `the name of the object (${String(metadata["name"])}) does not match the name on the URL (${name})`,
    );
}

/** The first member that is not of the type its schema says, in Go's words. */
export function wrongType(value: unknown, schema: ApiSchema, path: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  const type = Array.isArray(value) ? "array" : typeof value;
  const expected = schema.type === "integer" ? "number" : (schema.type ?? type);
  if (type !== expected) return `${type} into Go struct field ObjectMeta.${path} of type ${schema.type ?? ""}`;
  if (typeof value === "string" && !hasFormat(value, schema.format)) return `no ${schema.format ?? ""} into ${path}`;
  if (Array.isArray(value)) return first(value, (item) => wrongType(item, schema.items ?? {}, path));
  if (!isFields(value)) return undefined;
  return first(Object.entries(value), ([name, member]) => {
    const known =
      schema.properties !== undefined && Object.hasOwn(schema.properties, name)
        ? schema.properties[name]
        : schema.additionalProperties;
    return known === undefined ? undefined : wrongType(member, known, `${path}.${name}`);
  });
}

/** RFC 3339, section 5.6 */
const time = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/;

function hasFormat(text: string, format: string | undefined): boolean {
  if (format === "byte") return isBase64(text);
  return format !== "date-time" || (time.test(text) && !Number.isNaN(Date.parse(text)));
}

function first<T, R>(items: readonly T[], find: (item: T) => R | undefined): R | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Members that metadata does not have, as `metadata.foo`. */
export function unknownMetadata(object: Fields): string[] {
  return Object.keys(fieldsOf(object, "metadata"))
    .filter((name) => !Object.hasOwn(objectMeta.properties!, name))
    .map((name) => `metadata.${name}`);
}

/** Takes out of metadata what it does not have, and what is null. */
export function pruneMetadata(metadata: Fields): void {
  for (const name of Object.keys(metadata)) {
    if (!Object.hasOwn(objectMeta.properties!, name) || metadata[name] === null) Reflect.deleteProperty(metadata, name);
  }
}

const labelWords =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/** What is wrong with kind, labels, annotations, finalizers and owners. */
export function metadataProblems({ kind, custom }: ResourceType, object: Fields): InvalidProblem[] {
  const metadata = fieldsOf(object, "metadata");
  const problems: InvalidProblem[] = [];
  if (object["kind"] !== kind) problems.push(invalidField("kind", object["kind"], `must be ${kind}`));
  for (const [name, value] of Object.entries(fieldsOf(metadata, "labels"))) {
    if (!isLabelName(name)) problems.push(invalidField("metadata.labels", name, `name part ${labelWords}`));
    if (!isLabelValue(String(value)))
      problems.push(
        invalidField(
          "metadata.labels",
          value,
          `a valid label must be an empty string or ${labelWords.replace("must consist", "consist")}`,
        ),
      );
  }
  for (const name of Object.keys(fieldsOf(metadata, "annotations"))) {
    if (!isLabelName(name.toLowerCase()))
      problems.push(invalidField("metadata.annotations", name, `name part ${labelWords}`));
  }
  for (const finalizer of (metadata["finalizers"] ?? []) as string[]) {
    if (!isLabelName(finalizer))
      problems.push(invalidField("metadata.finalizers", finalizer, `name part ${labelWords}`));
    else if (!finalizer.includes("/") && !custom)
      problems.push(
        invalidField(
          "metadata.finalizers",
          finalizer,
          "name is neither a standard finalizer name nor is it fully qualified",
        ),
      );
  }
  return [...problems, ...ownerProblems((metadata["ownerReferences"] ?? []) as Fields[])];
}

function ownerProblems(owners: readonly Fields[]): InvalidProblem[] {
  const field = "metadata.ownerReferences";
  const problems = owners.flatMap((owner) =>
    ["apiVersion", "kind", "name", "uid"]
      .filter((name) => textOf(owner[name]) === "")
      .map((name) => invalidField(`${field}.${name}`, "", `${name} must not be empty`)),
  );
  if (owners.filter(({ controller }) => controller === true).length > 1)
    problems.push(invalidField(field, "object", "Only one reference can have Controller set to true"));
  return problems;
}

/** What an update may not change. */
export function metadataChanges(live: Fields, next: Fields): InvalidProblem[] {
  const problems: InvalidProblem[] = [];
  const before = (at(live, "metadata", "finalizers") ?? []) as string[];
  const added = ((at(next, "metadata", "finalizers") ?? []) as string[]).filter((name) => !before.includes(name));
  if (at(live, "metadata", "deletionTimestamp") !== undefined && added.length > 0) {
    const list = added.map((name) => JSON.stringify(name)).join(", ");
    problems.push(
      forbiddenField(
        "metadata.finalizers",
        `no new finalizers can be added if the object is being deleted, found new finalizers []string{${list}}`,
      ),
    );
  }
  return problems;
}
