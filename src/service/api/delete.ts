/** delete and deletecollection. */
import type { KubeObject } from "../model/object.ts";
import { decodeObject } from "./decode/body.ts";
import { asFields, keyOf, liveObject, asObject, type ApiAnswer, type ApiRequest } from "./context.ts";
import { at, fieldsOf, textOf, type Fields } from "./json.ts";
import { holdNamespace } from "./namespaces.ts";
import { listAll } from "./read.ts";
import { parameter, readOptions, writeOptions } from "./request-options.ts";
import { selectorOf } from "./selectors.ts";
import { apiVersionOf } from "./resource-types.ts";
import {
  badRequest,
  changedMeanwhile,
  conflict,
  forbidden,
  invalidField,
  invalidOptions,
  notFound,
  type InvalidProblem,
} from "./status.ts";
import { isCode } from "./write.ts";

interface DeleteOptions {
  readonly dryRun: boolean;
  readonly uid: string;
  readonly resourceVersion: string;
}

/** From the query and, with precedence, the body. Throws 400, 415 and 422. */
function deleteOptions({ body, contentType, query, userAgent }: ApiRequest): DeleteOptions {
  const sent = body.length === 0 ? {} : decodeObject(body, contentType).value;
  const kind = at(sent, "kind") ?? "DeleteOptions";
  if (kind !== "DeleteOptions") throw badRequest(`the body of a delete is DeleteOptions, and not a ${textOf(kind)}`);
  const dryRun = at(sent, "dryRun");
  const fromBody = Array.isArray(dryRun) && dryRun.length > 0 ? { dryRun: String(dryRun[0]) } : {};
  const options = writeOptions("DeleteOptions", { dryRun: parameter(query, "dryRun"), ...fromBody }, userAgent);
  const problems = propagationProblems(
    at(sent, "propagationPolicy") ?? (parameter(query, "propagationPolicy") || undefined),
    at(sent, "orphanDependents") ?? (parameter(query, "orphanDependents") || undefined),
  );
  if (problems.length > 0) throw invalidOptions("DeleteOptions", problems);
  const preconditions = fieldsOf(sent, "preconditions");
  return {
    dryRun: options.dryRun,
    uid: textOf(preconditions["uid"]),
    resourceVersion: textOf(preconditions["resourceVersion"]),
  };
}

const policies: readonly unknown[] = ["Background", "Foreground", "Orphan"];

/** Nothing here has dependents, so that each policy comes to the same; what is none is refused as by the API server. */
function propagationProblems(policy: unknown, orphans: unknown): InvalidProblem[] {
  if (policy === undefined || policy === null) return [];
  const field = "propagationPolicy";
  if (orphans !== undefined && orphans !== null)
    return [invalidField(field, policy, "orphanDependents and deletionPropagation cannot be both set")];
  if (policies.includes(policy)) return [];
  const supported = [...policies, "nil"].map((one) => JSON.stringify(one)).join(", ");
  const message = `Unsupported value: ${JSON.stringify(policy)}: supported values: ${supported}`;
  return [{ field, reason: "FieldValueNotSupported", message }];
}

/** DELETE of one object: the object where finalizers hold it, else a Status. Throws StatusError. */
export async function remove(request: ApiRequest): Promise<ApiAnswer> {
  const {
    place: { type, name },
  } = request;
  const options = deleteOptions(request);
  const object = await removeOne(request, options);
  if (object.metadata.deletionTimestamp !== undefined && (object.metadata.finalizers ?? []).length > 0)
    return { status: 200, object: asFields(object) };
  const details = {
    name,
    ...(type.group === "" ? {} : { group: type.group }),
    kind: type.resource,
    uid: object.metadata.uid,
  };
  return { status: 200, object: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details } };
}

async function removeOne(request: ApiRequest, { dryRun, uid, resourceVersion }: DeleteOptions): Promise<KubeObject> {
  const {
    deps: { store },
    place,
  } = request;
  const { type, name } = place;
  const live = asObject(await liveObject(request));
  if (type.kind === "Namespace" && name === "default") throw forbidden(type, name, "this namespace may not be deleted");
  if (uid !== "" && uid !== live.metadata.uid)
    throw conflict(
      type,
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${live.metadata.uid}`,
    );
  if (resourceVersion !== "" && resourceVersion !== live.metadata.resourceVersion) {
    throw conflict(
      type,
      name,
      `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion ` +
        `in object meta: ${live.metadata.resourceVersion}`,
    );
  }
  if (dryRun) return live;
  try {
    if (type.kind === "Namespace") await holdNamespace(store, live);
    return await store.remove(keyOf(place), {
      ...(uid === "" ? {} : { uid }),
      ...(resourceVersion === "" ? {} : { resourceVersion }),
    });
  } catch (error) {
    if (isCode(error, "E_OBJECT_NOT_FOUND")) throw notFound(type, name);
    throw isCode(error, "E_OBJECT_CONFLICT") ? changedMeanwhile(type, name) : error;
  }
}

/** DELETE of all objects that the selectors match; gives them as a list. Throws StatusError. */
export async function removeCollection(request: ApiRequest): Promise<ApiAnswer> {
  const { place } = request;
  const options = deleteOptions(request);
  const read = readOptions(request.query);
  const { items, resourceVersion } = await listAll(request, selectorOf(read, place.type.resource));
  const removed: Fields[] = [];
  for (const { metadata } of items) {
    const one = { ...request, place: { ...place, namespace: metadata.namespace ?? "", name: metadata.name } };
    try {
      removed.push(asFields(await removeOne(one, options)));
    } catch (error) {
      // Somebody else removed it meanwhile.
      if ((error as { status?: number }).status !== 404) throw error;
    }
  }
  return {
    status: 200,
    object: {
      kind: `${place.type.kind}List`,
      apiVersion: apiVersionOf(place.type),
      metadata: { resourceVersion },
      items: removed,
    },
  };
}
