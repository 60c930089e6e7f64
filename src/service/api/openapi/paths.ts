/** The operations of an OpenAPI document; kubectl looks up here what a kind's requests understand. */
import { patchTypes } from "../write.ts";
import { objectTypes } from "../decode/body.ts";
import { pathOf, type ResourceType, type Verb } from "../resource-types.ts";
import { metaNames } from "./meta-schemas.ts";
import { reference, schemaName, type Dialect } from "./schemas.ts";

type Json = Record<string, unknown>;

const text = "string";
const query: Readonly<Record<string, readonly [type: string, description: string]>> = {
  allowWatchBookmarks: ["boolean", "Also tell now and then how far the watch is."],
  continue: [text, "Where the last part of the list ended."],
  dryRun: [text, "All: nothing is stored."],
  fieldManager: [text, "Name of the program that makes the change."],
  fieldSelector: [text, "Only objects whose fields are so."],
  fieldValidation: [text, "What becomes of unknown and repeated fields: Ignore, Warn or Strict."],
  force: ["boolean", "Take over fields that others own (server-side apply only)."],
  labelSelector: [text, "Only objects with these labels."],
  limit: ["integer", "How many objects at most."],
  propagationPolicy: [text, "Not used: no object depends on another."],
  resourceVersion: [text, "At least this version."],
  resourceVersionMatch: [text, "How resourceVersion is meant: Exact or NotOlderThan."],
  sendInitialEvents: ["boolean", "Begin a watch with what is there already."],
  timeoutSeconds: ["integer", "When to end the watch."],
  watch: ["boolean", "Tell changes as they come."],
};

const reading = [
  "allowWatchBookmarks",
  "continue",
  "fieldSelector",
  "labelSelector",
  "limit",
  "resourceVersion",
  "resourceVersionMatch",
  "sendInitialEvents",
  "timeoutSeconds",
  "watch",
];
const writing = ["dryRun", "fieldManager", "fieldValidation"];

interface Operation {
  readonly method: string;
  /** As in x-kubernetes-action. */
  readonly action: string;
  readonly verb: Verb;
  readonly parameters: readonly string[];
  readonly body?: "object" | "patch" | "options";
  readonly answer: "object" | "list" | "status";
}

const onObject: readonly Operation[] = [
  { method: "get", action: "get", verb: "get", parameters: ["resourceVersion"], answer: "object" },
  { method: "put", action: "put", verb: "update", parameters: writing, body: "object", answer: "object" },
  {
    method: "patch",
    action: "patch",
    verb: "patch",
    parameters: [...writing, "force"],
    body: "patch",
    answer: "object",
  },
  {
    method: "delete",
    action: "delete",
    verb: "delete",
    parameters: ["dryRun", "propagationPolicy"],
    body: "options",
    answer: "status",
  },
];

const onCollection: readonly Operation[] = [
  { method: "get", action: "list", verb: "list", parameters: reading, answer: "list" },
  { method: "post", action: "post", verb: "create", parameters: writing, body: "object", answer: "object" },
  {
    method: "delete",
    action: "deletecollection",
    verb: "deletecollection",
    parameters: [...reading.filter((name) => !/watch/i.test(name)), "dryRun"],
    body: "options",
    answer: "status",
  },
];

/** Paths with their operations, for these types. */
export function pathsOf(dialect: Dialect, types: readonly ResourceType[]): Record<string, Json> {
  const paths: Record<string, Json> = {};
  for (const type of types) {
    const base = pathOf(type);
    const collection = type.namespaced ? `${base}/namespaces/{namespace}/${type.resource}` : `${base}/${type.resource}`;
    const inNamespace = type.namespaced ? ["namespace"] : [];
    const add = (path: string, operations: readonly Operation[], names: readonly string[], suffix: string) => {
      const allowed = operations.filter(({ verb }) => type.verbs.includes(verb));
      paths[path] = {
        ...Object.fromEntries(
          allowed.map((operation) => [operation.method, operationOf(dialect, type, operation, suffix)]),
        ),
        parameters: names.map((name) => pathParameter(dialect, name)),
      };
    };
    add(collection, onCollection, inNamespace, "");
    add(`${collection}/{name}`, onObject, [...inNamespace, "name"], "");
    if (type.hasStatus)
      add(
        `${collection}/{name}/status`,
        onObject.filter(({ verb }) => verb !== "delete"),
        [...inNamespace, "name"],
        "Status",
      );
    if (type.namespaced) add(`${base}/${type.resource}`, onCollection.slice(0, 1), [], "ForAllNamespaces");
  }
  return paths;
}

function pathParameter(dialect: Dialect, name: string): Json {
  const description = name === "name" ? "Name of the object." : "Namespace of the object.";
  return { name, in: "path", required: true, description, ...typed(dialect, text) };
}

const typed = (dialect: Dialect, type: string): Json =>
  dialect === 2 ? { type, uniqueItems: true } : { schema: { type, uniqueItems: true } };

function operationOf(
  dialect: Dialect,
  type: ResourceType,
  { method, action, parameters, body, answer }: Operation,
  suffix: string,
): Json {
  const own = schemaName(type);
  const answerSchema = reference(dialect, { object: own, list: `${own}List`, status: metaNames.status }[answer]);
  const bodySchema =
    body === undefined
      ? undefined
      : reference(dialect, { object: own, patch: metaNames.patch, options: metaNames.deleteOptions }[body]);
  const bodyTypes =
    body === "patch"
      ? Object.values(patchTypes).filter((one) => !type.custom || one !== patchTypes.strategic)
      : objectTypes;
  const scope = type.namespaced && suffix !== "ForAllNamespaces" ? "Namespaced" : "";
  const group = type.group === "" ? "Core" : "Virtualization";
  return {
    description: `${action} ${type.kind}`,
    operationId: `${action}${group}${type.version}${scope}${type.kind}${suffix}`,
    ...(dialect === 2
      ? { consumes: bodySchema === undefined ? ["*/*"] : bodyTypes, produces: ["application/json"] }
      : {}),
    parameters: [
      ...parameters.map((name) => ({
        name,
        in: "query",
        description: query[name]![1],
        ...typed(dialect, query[name]![0]),
      })),
      ...(dialect === 2 && bodySchema !== undefined
        ? [{ name: "body", in: "body", required: body !== "options", schema: bodySchema }]
        : []),
    ],
    ...(dialect === 3 && bodySchema !== undefined
      ? {
          requestBody: {
            required: body !== "options",
            content: Object.fromEntries(bodyTypes.map((one) => [one, { schema: bodySchema }])),
          },
        }
      : {}),
    responses: {
      [method === "post" ? "201" : "200"]: {
        description: "OK",
        ...(dialect === 2 ? { schema: answerSchema } : { content: { "application/json": { schema: answerSchema } } }),
      },
      401: { description: "Unauthorized" },
    },
    "x-kubernetes-action": action,
    "x-kubernetes-group-version-kind": { group: type.group, version: type.version, kind: type.kind },
  };
}
