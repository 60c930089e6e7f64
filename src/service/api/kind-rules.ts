/** What the API does to, and asks of, objects of one kind beyond their schema. */
import { at, fieldsOf, isFields, sameJson, textOf, type Fields } from "./json.ts";
import type { ResourceType } from "./resource-types.ts";
import { forbiddenField, invalidField, type InvalidProblem } from "./status.ts";

/** Fills in what a client may leave out. Changes `object`. */
export function complete({ kind }: ResourceType, object: Fields): void {
  if (kind === "Secret") completeSecret(object);
  if (kind === "Namespace") completeNamespace(object);
}

function completeSecret(object: Fields): void {
  object["type"] ??= "Opaque";
  if (isFields(object["stringData"])) {
    const encoded = Object.entries(object["stringData"]).map(([name, value]) => [
      name,
      Buffer.from(String(value), "utf8").toString("base64"),
    ]);
    object["data"] = { ...fieldsOf(object, "data"), ...(Object.fromEntries(encoded) as Fields) };
  }
  delete object["stringData"];
}

function completeNamespace(object: Fields): void {
  const metadata = object["metadata"] as Fields;
  metadata["labels"] = { ...fieldsOf(metadata, "labels"), "kubernetes.io/metadata.name": metadata["name"] };
  object["spec"] = { finalizers: ["kubernetes"] };
}

/** Changes that are not allowed to an object of this kind. */
export function changeProblems({ kind, custom }: ResourceType, live: Fields, next: Fields): InvalidProblem[] {
  if (custom) return imageChanges(kind, live, next);
  return kind === "Secret" ? secretChanges(live, next) : [];
}

/** An image that is stored stays what it is. */
function imageChanges(kind: string, live: Fields, next: Fields): InvalidProblem[] {
  if (sameJson(live["spec"], next["spec"])) return [];
  const conditions = (at(live, "status", "conditions") ?? []) as readonly Fields[];
  const phase = at(live, "status", "phase");
  if (phase === "ImageLost")
    return [forbiddenField("spec", `${kind} has lost its image: delete it and create it again`)];
  const isReady = phase === "Ready" || conditions.some(({ type, status }) => type === "Ready" && status === "True");
  return isReady
    ? [forbiddenField("spec", `${kind} is in a Ready state: configuration changes are not available`)]
    : [];
}

function secretChanges(live: Fields, next: Fields): InvalidProblem[] {
  const problems: InvalidProblem[] = [];
  if (live["type"] !== next["type"]) problems.push(invalidField("type", textOf(next["type"]), "field is immutable"));
  if (live["immutable"] !== true) return problems;
  const why = "field is immutable when `immutable` is set";
  if (next["immutable"] !== true) problems.push(forbiddenField("immutable", why));
  if (!sameJson(live["data"] ?? {}, next["data"] ?? {})) problems.push(forbiddenField("data", why));
  return problems;
}
