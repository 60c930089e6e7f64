/** From what a client sent to what is stored: pruned, completed, owned and validated. */
import { randomUUID } from "node:crypto";

import type { ManagedFields } from "../model/object.ts";
import { structured } from "../model/structure.ts";
import { statusSchemaProblems, validateObject } from "../model/validate.ts";
import { asObject, type ApiRequest } from "./context.ts";
import { checkLimits, checkSize } from "./decode/object-limits.ts";
import { at, fieldsOf, isEmpty, isFields, sameJson, textOf, type Fields } from "./json.ts";
import { changeProblems, complete } from "./kind-rules.ts";
import {
  generateName,
  metadataChanges,
  metadataProblems,
  pruneMetadata,
  settleIdentity,
  wrongType,
} from "./metadata.ts";
import { objectMeta } from "./openapi/meta-schemas.ts";
import { schemaOf, type ResourceType } from "./resource-types.ts";
import { changedMeanwhile, invalidField, invalidObject, type InvalidProblem } from "./status.ts";
import type { FieldSchema } from "./fields/typed.ts";

/** RFC 3339, whole seconds, UTC. */
export const now = (): string => new Date().toISOString().replace(/\.\d+Z$/, "Z");

/** The schema of a whole object, metadata included. */
export function fieldSchemaOf(type: ResourceType): FieldSchema {
  const schema = schemaOf(type);
  return { ...schema, properties: { ...schema.properties, metadata: objectMeta } };
}

/** Members of metadata that only the server writes. */
const serverOwned = [
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "selfLink",
];

type Owners = (next: Fields) => ManagedFields[];

/** Throws 400 and 422. */
export function prepareCreate({ place }: ApiRequest, sent: Fields, owners: Owners): Fields {
  const { type } = place;
  checkLimits(type, sent);
  const object = structuredClone(sent);
  settleIdentity(object, place);
  const metadata = object["metadata"] as Fields;
  generateName(metadata, type.kind === "Namespace" ? 63 : 253);
  for (const name of serverOwned) Reflect.deleteProperty(metadata, name);
  return settled(place.type, object, undefined, owners);
}

/** Throws 400, 409 and 422. */
export function prepareUpdate({ place, subresource }: ApiRequest, sent: Fields, live: Fields, owners: Owners): Fields {
  const { type, name } = place;
  checkLimits(type, sent);
  const changed = structuredClone(sent);
  settleIdentity(changed, place);
  const [metadata, liveMetadata] = [changed["metadata"] as Fields, fieldsOf(live, "metadata")];
  const { uid, resourceVersion } = metadata;
  if (textOf(uid) !== "" && uid !== liveMetadata["uid"])
    throw invalidObject(type, name, [invalidField("metadata.uid", uid, "field is immutable")]);
  const deletion = textOf(metadata["deletionTimestamp"]);
  if (subresource === "" && deletion !== "" && deletion !== liveMetadata["deletionTimestamp"])
    throw invalidObject(type, name, [invalidField("metadata.deletionTimestamp", deletion, "field is immutable")]);
  if (textOf(resourceVersion) !== "" && resourceVersion !== liveMetadata["resourceVersion"])
    throw changedMeanwhile(type, name);
  const object: Fields = subresource === "status" ? { ...structuredClone(live), status: changed["status"] } : changed;
  const own = object["metadata"] as Fields;
  if (subresource === "status") own["managedFields"] = metadata["managedFields"];
  for (const member of serverOwned) {
    if (liveMetadata[member] === undefined) Reflect.deleteProperty(own, member);
    else own[member] = liveMetadata[member];
  }
  return settled(type, object, subresource === "status" ? undefined : live, owners, live, subresource);
}

function settled(
  type: ResourceType,
  sent: Fields,
  statusFrom: Fields | undefined,
  owners: Owners,
  live?: Fields,
  subresource: ApiRequest["subresource"] = "",
): Fields {
  const object = structured(type.kind, sent);
  const metadata = object["metadata"] as Fields;
  pruneMetadata(metadata);
  for (const name of ["labels", "annotations", "finalizers", "ownerReferences"])
    if (isEmpty(metadata[name])) Reflect.deleteProperty(metadata, name);
  complete(type, object);
  if (subresource !== "status") {
    delete object["status"];
    const status = type.kind === "Namespace" && statusFrom === undefined ? { phase: "Active" } : statusFrom?.["status"];
    if (status !== undefined) object["status"] = status;
  } else if (object["status"] === undefined) delete object["status"];
  const entries = owners(object);
  if (entries.length > 0) metadata["managedFields"] = entries;
  else delete metadata["managedFields"];
  const problems: InvalidProblem[] = [
    // What is of another kind has another schema.
    ...(object["kind"] === type.kind ? validateObject(asObject(object)) : []),
    ...metadataProblems(type, object),
    ...statusProblems(type, object, subresource),
  ];
  if (live !== undefined && problems.length === 0)
    problems.push(...metadataChanges(live, object), ...changeProblems(type, live, object));
  if (problems.length > 0) throw invalidObject(type, textOf(metadata["name"]), problems);
  checkSize(object);
  return object;
}

function statusProblems(
  type: ResourceType,
  { status }: Fields,
  subresource: ApiRequest["subresource"],
): InvalidProblem[] {
  if (subresource !== "status" || status === undefined) return [];
  const schema = schemaOf(type).properties?.["status"];
  const wrong = schema === undefined ? undefined : wrongType(status, schema, "status");
  if (wrong !== undefined) return [invalidField("status", isFields(status) ? "object" : status, `cannot be ${wrong}`)];
  return schema === undefined ? [] : statusSchemaProblems(type.kind, status);
}

/** What a create would have given, for a dry run. */
export function asIfCreated(object: Fields): Fields {
  const metadata = fieldsOf(object, "metadata");
  return {
    ...object,
    metadata: {
      ...metadata,
      uid: randomUUID(),
      creationTimestamp: now(),
      ...(object["spec"] === undefined ? {} : { generation: 1 }),
    },
  };
}

/** What an update would have given, for a dry run. */
export function asIfUpdated(object: Fields, live: Fields): Fields {
  if (sameJson(object["spec"], live["spec"])) return object;
  const generation = Number(at(live, "metadata", "generation") ?? 0) + 1;
  return { ...object, metadata: { ...fieldsOf(object, "metadata"), generation } };
}
