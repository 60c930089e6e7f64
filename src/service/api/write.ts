/** create, update and the three patches that change what is stored. */
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { KubeObject } from "../model/object.ts";
import { decodeJson, decodeObject, mediaType, objectOf } from "./decode/body.ts";
import { asFields, asObject, keyOf, liveObject, type ApiAnswer, type ApiRequest } from "./context.ts";
import { checkLimits } from "./decode/object-limits.ts";
import { fieldComplaints, heedComplaints } from "./field-check.ts";
import { ownersAfterUpdate, type Manager } from "./fields/managed.ts";
import { at, isFields, textOf, type Fields } from "./json.ts";
import { jsonPatch } from "./json-patch.ts";
import { mergePatch, strategicMergePatch } from "./merge-patch.ts";
import { settleIdentity, undecodable } from "./metadata.ts";
import { openForContent } from "./namespaces.ts";
import { asIfCreated, asIfUpdated, fieldSchemaOf, now, prepareCreate, prepareUpdate } from "./prepare.ts";
import { writeOptions, type WriteOptions } from "./request-options.ts";
import { apiVersionOf } from "./resource-types.ts";
import {
  alreadyExists,
  badRequest,
  changedMeanwhile,
  conflict,
  invalid,
  invalidObject,
  notFound,
  unsupportedMediaType,
  type StatusError,
} from "./status.ts";

export const patchTypes = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
} as const;

/** Characters of a patched object that a refusal repeats. */
const shownLength = 2000;

/** Who writes, for managedFields. */
export const managerOf = ({ place, subresource }: ApiRequest, { fieldManager }: WriteOptions): Manager => ({
  name: fieldManager,
  apiVersion: apiVersionOf(place.type),
  subresource,
});

/** POST. Throws StatusError. */
export async function create(request: ApiRequest): Promise<ApiAnswer> {
  const {
    place: { type },
  } = request;
  const options = writeOptions("CreateOptions", request.query, request.userAgent);
  const { value: sent, repeated } = decodeObject(request.body, request.contentType);
  heed(request, options, sent, repeated);
  const object = prepareCreate(request, sent, (next) =>
    ownersAfterUpdate(undefined, next, managerOf(request, options), fieldSchemaOf(type), now()),
  );
  return await storeNew(request, object, options);
}

function heed(
  { place: { type }, warnings }: ApiRequest,
  options: WriteOptions,
  sent: Fields,
  repeated: readonly string[],
): void {
  const refuse = (text: string): StatusError =>
    badRequest(`${type.kind} in version ${JSON.stringify(type.version)} cannot be handled as a ${type.kind}: ${text}`);
  heedComplaints(() => fieldComplaints(type.kind, sent, repeated), options, warnings, refuse);
}

/** Stores a prepared object, or answers as if. Throws 403 and 409. */
export async function storeNew(request: ApiRequest, object: Fields, { dryRun }: WriteOptions): Promise<ApiAnswer> {
  const {
    deps: { store },
    place,
  } = request;
  const name = textOf(at(object, "metadata", "name"));
  await openForContent(store, place, name, dryRun);
  if (dryRun) {
    if ((await store.get(keyOf({ ...place, name }))) !== undefined) throw alreadyExists(place.type, name);
    return { status: 201, object: asIfCreated(object) };
  }
  try {
    return { status: 201, object: asFields(await store.create(place.type.resource, asObject(object))) };
  } catch (error) {
    throw isCode(error, "E_OBJECT_EXISTS") ? alreadyExists(place.type, name) : error;
  }
}

export const isCode = (error: unknown, code: DvcrError["code"]): boolean =>
  error instanceof DvcrError && error.code === code;

/** PUT. Throws StatusError. */
export async function update(request: ApiRequest): Promise<ApiAnswer> {
  const { place } = request;
  const options = writeOptions("UpdateOptions", request.query, request.userAgent);
  const { value: sent, repeated } = decodeObject(request.body, request.contentType);
  heed(request, options, sent, repeated);
  throwIfUnnamed(sent, place.name);
  settleIdentity(sent, place);
  const { metadata: live } = asObject(await liveObject(request));
  const uid = textOf(at(sent, "metadata", "uid"));
  // In a PUT the uid is a precondition, in a patch a field that does not change.
  if (uid !== "" && uid !== live.uid)
    throw conflict(
      place.type,
      place.name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${live.uid}`,
    );
  const isUnconditional = textOf(at(sent, "metadata", "resourceVersion")) === "";
  if (isUnconditional && place.type.custom) {
    throw invalidObject(place.type, place.name, [
      {
        field: "metadata.resourceVersion",
        reason: "FieldValueInvalid",
        message: "Invalid value: 0x0: must be specified for an update",
      },
    ]);
  }
  return await storeChange(request, options, () => sent, isUnconditional);
}

function throwIfUnnamed(object: Fields, name: string): void {
  if (isFields(object["metadata"] ?? {}) && textOf(at(object, "metadata", "name")) === "")
    throw badRequest(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
}

/** PATCH by anything but server-side apply. Throws StatusError. */
export async function patch(request: ApiRequest): Promise<ApiAnswer> {
  const {
    place: { type, name },
    warnings,
  } = request;
  const options = writeOptions("PatchOptions", request.query, request.userAgent);
  const { change, repeated } = patcherOf(request);
  let isUnconditional = true;
  return await storeChange(
    request,
    options,
    (live) => {
      const patched = change(live);
      isUnconditional = at(patched, "metadata", "resourceVersion") === at(live, "metadata", "resourceVersion");
      checkLimits(type, patched);
      const refuse = (text: string): StatusError => {
        const shown =
          type.kind === "Secret" ? "<secret contents redacted>" : JSON.stringify(patched).slice(0, shownLength);
        return invalid("", "", "", [
          { field: "patch", reason: "FieldValueInvalid", message: `Invalid value: ${JSON.stringify(shown)}: ${text}` },
        ]);
      };
      const why = undecodable(patched, type);
      if (why !== undefined) throw refuse(why);
      throwIfUnnamed(patched, name);
      heedComplaints(() => fieldComplaints(type.kind, patched, repeated), options, warnings, refuse);
      if (!isUnconditional) throwIfStale(request, patched, live, name);
      return patched;
    },
    true,
  );
}

function throwIfStale({ place: { type } }: ApiRequest, patched: Fields, live: Fields, name: string): void {
  const asked = textOf(at(patched, "metadata", "resourceVersion"));
  if (asked !== "" && asked !== at(live, "metadata", "resourceVersion")) throw changedMeanwhile(type, name);
}

interface Patcher {
  readonly change: (live: Fields) => Fields;
  /** Members that stand in the patch twice. */
  readonly repeated: readonly string[];
}

/** Throws 400, 413 and 415. */
function patcherOf({ place: { type }, body, contentType }: ApiRequest): Patcher {
  const kind = mediaType(contentType);
  const accepted = Object.values(patchTypes).filter((one) => !type.custom || one !== patchTypes.strategic);
  if (!(accepted as readonly string[]).includes(kind)) throw unsupportedMediaType(accepted);
  const decoded = decodeJson(body);
  const { repeated } = decoded;
  if (kind === patchTypes.json) return { change: (live) => jsonPatch(live, decoded.value), repeated };
  const { value } = objectOf(decoded);
  if (kind === patchTypes.merge) return { change: (live) => mergePatch(live, value) as Fields, repeated };
  return {
    change: (live) => ({
      ...((strategicMergePatch(live, value, fieldSchemaOf(type)) ?? {}) as Fields),
      // The API server merges into its own types, which know what they are.
      kind: type.kind,
      apiVersion: apiVersionOf(type),
    }),
    repeated,
  };
}

/** How often a change that names no version is done over on what others wrote meanwhile. */
const mostAttempts = 5;

async function storeChange(
  request: ApiRequest,
  options: WriteOptions,
  change: (live: Fields) => Fields,
  isUnconditional: boolean,
): Promise<ApiAnswer> {
  const {
    place: { type },
  } = request;
  for (let attempt = 1; ; attempt += 1) {
    const live = await liveObject(request);
    const object = request.measured(() =>
      prepareUpdate(request, change(live), live, (next) =>
        ownersAfterUpdate(live, next, managerOf(request, options), fieldSchemaOf(type), now()),
      ),
    );
    const stored = await storeUpdate(request, object, live, options, isUnconditional && attempt < mostAttempts);
    if (stored !== undefined) return stored;
  }
}

/**
 * Stores what was made of `live`, or answers as if. Gives nothing where somebody else was faster and it `mayTryAgain`.
 * Throws 404 and 409.
 */
export async function storeUpdate(
  { deps: { store }, place }: ApiRequest,
  object: Fields,
  live: Fields,
  { dryRun }: WriteOptions,
  mayTryAgain: boolean,
): Promise<ApiAnswer | undefined> {
  if (dryRun) return { status: 200, object: asIfUpdated(object, live) };
  try {
    return { status: 200, object: asFields(await store.update<KubeObject>(place.type.resource, asObject(object))) };
  } catch (error) {
    if (isCode(error, "E_OBJECT_NOT_FOUND")) throw notFound(place.type, place.name);
    if (!isCode(error, "E_OBJECT_CONFLICT")) throw error;
    if (mayTryAgain) return undefined;
    throw changedMeanwhile(place.type, place.name);
  }
}
