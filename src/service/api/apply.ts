/** Server-side apply. */
import { decodeYamlOrJson, objectOf } from "./decode/body.ts";
import { checkLimits } from "./decode/object-limits.ts";
import { asFields, keyOf, type ApiAnswer, type ApiRequest } from "./context.ts";
import { fieldComplaints } from "./field-check.ts";
import { apply as applyFields } from "./fields/managed.ts";
import { at, fieldsOf, isFields, textOf, without, type Fields } from "./json.ts";
import { lastApplied, pruneMetadata, settleIdentity } from "./metadata.ts";
import { fieldSchemaOf, now, prepareCreate, prepareUpdate } from "./prepare.ts";
import { writeOptions } from "./request-options.ts";
import { apiVersionOf, type ResourceType } from "./resource-types.ts";
import { badRequest, changedMeanwhile, conflict } from "./status.ts";
import { managerOf, storeNew, storeUpdate } from "./write.ts";

const mostAttempts = 5;

/** PATCH with application/apply-patch+yaml; creates what is not there. Throws StatusError. */
export async function applyPatch(request: ApiRequest): Promise<ApiAnswer> {
  const { place, query, userAgent } = request;
  const options = writeOptions("PatchOptions", query, userAgent, true);
  const config = configOf(request);
  const context = { force: options.force, now: now() };
  const schema = fieldSchemaOf(place.type);
  for (let attempt = 1; ; attempt += 1) {
    const found = await request.deps.store.get(keyOf(place));
    const live = found === undefined ? undefined : asFields(found);
    const prepared = request.measured(() => {
      throwIfOther(request, config, live);
      const { object, managedFields } = applyFields(live, config, managerOf(request, options), schema, context);
      if (live === undefined) return prepareCreate(request, object, () => managedFields);
      if (options.fieldManager === "kubectl") followLastApplied(object, config);
      delete fieldsOf(object, "metadata")["resourceVersion"];
      return prepareUpdate(request, object, live, () => managedFields);
    });
    if (live === undefined) return await storeNew(request, prepared, options);
    const stored = await storeUpdate(request, prepared, live, options, attempt < mostAttempts);
    if (stored !== undefined) return stored;
  }
}

/** The applied object, checked as strictly as the API server does whatever `fieldValidation` says. */
function configOf({ place, body, subresource }: ApiRequest): Fields {
  const { type, namespace, name } = place;
  const { value: config, repeated } = objectOf(decodeYamlOrJson(body));
  if (repeated.length > 0)
    throw badRequest(
      "error strict decoding YAML: " +
        repeated.map((path) => `key ${JSON.stringify(path)} already set in map`).join(", "),
    );
  if (config["apiVersion"] === undefined || config["kind"] === undefined)
    throw badRequest("invalid object type: apiVersion and kind must be set");
  if (config["kind"] !== type.kind)
    throw badRequest(
      `the kind in the data (${textOf(config["kind"])}) does not match the expected kind (${type.kind})`,
    );
  settleIdentity(config, place);
  checkLimits(type, config);
  const metadata = config["metadata"] as Fields;
  if (metadata["managedFields"] !== undefined && metadata["managedFields"] !== null)
    throw badRequest("metadata.managedFields must be nil");
  const unknown = fieldComplaints(type.kind, config)[0];
  if (unknown !== undefined) {
    const path = unknown.slice(unknown.indexOf('"') + 1, -1);
    throw badRequest(
      `failed to create typed patch object (${namespace === "" ? "" : namespace}/${name}; ` +
        `${apiVersionOf(type)}, Kind=${type.kind}): .${path}: field not declared in schema`,
    );
  }
  pruneMetadata(metadata);
  return subresource === "status" ? onlyStatus(config) : withoutStatus(config, type);
}

const onlyStatus = ({ apiVersion, kind, metadata, status }: Fields): Fields => ({
  apiVersion,
  kind,
  metadata: Object.fromEntries(
    ["name", "namespace", "resourceVersion", "uid"].flatMap((name) =>
      at(metadata, name) === undefined ? [] : [[name, at(metadata, name)]],
    ),
  ),
  ...(status === undefined ? {} : { status }),
});

function withoutStatus(config: Fields, { hasStatus }: ResourceType): Fields {
  return hasStatus ? without(config, "status") : config;
}

function throwIfOther({ place: { type, name } }: ApiRequest, config: Fields, live: Fields | undefined): void {
  const [version, uid] = [textOf(at(config, "metadata", "resourceVersion")), textOf(at(config, "metadata", "uid"))];
  if (version !== "" && version !== at(live, "metadata", "resourceVersion")) throw changedMeanwhile(type, name);
  if (uid !== "" && uid !== at(live, "metadata", "uid"))
    throw conflict(type, name, "uid mismatch: the provided object specified uid, and no such object was found");
}

/** Client-side apply may be used again afterwards: its annotation follows. */
function followLastApplied(object: Fields, config: Fields): void {
  const annotations = fieldsOf(fieldsOf(object, "metadata"), "annotations");
  if (annotations[lastApplied] === undefined) return;
  const metadata = { ...fieldsOf(config, "metadata") };
  if (isFields(metadata["annotations"])) {
    metadata["annotations"] = without(metadata["annotations"], lastApplied);
  }
  annotations[lastApplied] = `${JSON.stringify({ ...config, metadata })}\n`;
}
