/** Schemas of what all resources share, by the names that Kubernetes' OpenAPI documents give them. */
import type { FieldSchema } from "../fields/typed.ts";

/** An OpenAPI schema: what the model's have, and what only the shared types need. */
export interface ApiSchema extends FieldSchema {
  readonly type?: string;
  readonly format?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, ApiSchema>>;
  readonly additionalProperties?: ApiSchema;
  readonly items?: ApiSchema;
  readonly required?: readonly string[];
  readonly $ref?: string;
  readonly allOf?: readonly ApiSchema[];
  readonly default?: unknown;
  readonly "x-kubernetes-preserve-unknown-fields"?: true;
  readonly "x-kubernetes-group-version-kind"?: readonly {
    readonly group: string;
    readonly version: string;
    readonly kind: string;
  }[];
  readonly "x-kubernetes-patch-merge-key"?: string;
  readonly "x-kubernetes-patch-strategy"?: string;
}

const text = (description: string): ApiSchema => ({ type: "string", description });
const time = (description: string): ApiSchema => ({ type: "string", format: "date-time", description });
const integer = (description: string): ApiSchema => ({ type: "integer", format: "int64", description });
const texts = (description: string): ApiSchema => ({
  type: "object",
  description,
  additionalProperties: { type: "string", default: "" },
});

const ownerReference: ApiSchema = {
  type: "object",
  description: "An object that this one belongs to.",
  properties: {
    apiVersion: text("Group and version of the owner."),
    kind: text("Kind of the owner."),
    name: text("Name of the owner."),
    uid: text("UID of the owner."),
    controller: { type: "boolean", description: "The owner is the controller." },
    blockOwnerDeletion: { type: "boolean", description: "Not used." },
  },
  required: ["apiVersion", "kind", "name", "uid"],
};

const managedFields: ApiSchema = {
  type: "object",
  description: "Fields that one manager owns.",
  properties: {
    manager: text("Name of the manager."),
    operation: text("Apply or Update."),
    apiVersion: text("Version of the resource that the fields are of."),
    time: time("When they last changed."),
    fieldsType: text("FieldsV1."),
    fieldsV1: {
      type: "object",
      description: "The fields.",
      "x-kubernetes-map-type": "atomic",
      "x-kubernetes-preserve-unknown-fields": true,
    },
    subresource: text("Subresource that they were written by."),
  },
};

export const objectMeta: ApiSchema = {
  type: "object",
  description: "What is kept about every object.",
  properties: {
    name: text("Name, unique for the kind within the namespace. Cannot be changed."),
    generateName: text("Beginning of a name that the server completes, where name is missing."),
    namespace: text("Namespace; missing for cluster-wide resources. Cannot be changed."),
    uid: text("Unique over time and space. Set by the server."),
    resourceVersion: text(
      "Version of this state of the object, opaque. Sent with a change, it must be the current one.",
    ),
    generation: integer("Number of this state of the spec. Set by the server."),
    creationTimestamp: time("When the object was created. Set by the server."),
    deletionTimestamp: time("When deletion was asked for. Set by the server."),
    deletionGracePeriodSeconds: integer("Not used."),
    labels: texts("Names and values to select objects by."),
    annotations: texts("Names and values for tools to keep with the object."),
    finalizers: {
      type: "array",
      description: "What must be done before the object goes; each is removed by who does it.",
      items: { type: "string" },
      "x-kubernetes-list-type": "set",
      "x-kubernetes-patch-strategy": "merge",
    },
    ownerReferences: {
      type: "array",
      description: "Objects that this one belongs to.",
      items: ownerReference,
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["uid"],
      "x-kubernetes-patch-merge-key": "uid",
      "x-kubernetes-patch-strategy": "merge",
    },
    managedFields: {
      type: "array",
      description: "Who owns which field. Set by the server.",
      items: managedFields,
      "x-kubernetes-list-type": "atomic",
    },
    selfLink: text("Not used."),
  },
};

export const listMeta: ApiSchema = {
  type: "object",
  description: "What is told about a list.",
  properties: {
    resourceVersion: text("Version of the list; a watch may begin there."),
    continue: text("Given back as `continue`, it leads to the next part of the list."),
    remainingItemCount: integer("How many objects follow."),
    selfLink: text("Not used."),
  },
};

export const statusObject: ApiSchema = {
  type: "object",
  description: "Outcome of a request that gives no object.",
  properties: {
    apiVersion: text("v1."),
    kind: text("Status."),
    metadata: listMeta,
    status: text("Success or Failure."),
    message: text("What happened, for people."),
    reason: text("What happened, for programs."),
    code: { type: "integer", format: "int32", description: "HTTP status." },
    details: { type: "object", description: "What it is about.", "x-kubernetes-preserve-unknown-fields": true },
  },
};

export const deleteOptions: ApiSchema = {
  type: "object",
  description: "How to delete.",
  properties: {
    apiVersion: text("v1."),
    kind: text("DeleteOptions."),
    dryRun: { type: "array", description: "All: nothing is deleted.", items: { type: "string" } },
    gracePeriodSeconds: integer("Not used."),
    orphanDependents: { type: "boolean", description: "Not used." },
    propagationPolicy: text("Not used: no object depends on another."),
    preconditions: {
      type: "object",
      description: "What must hold of the object.",
      properties: { uid: text("Its UID."), resourceVersion: text("Its version.") },
    },
  },
};

/** Names of the shared schemas in an OpenAPI document. */
export const metaNames = {
  objectMeta: "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
  listMeta: "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta",
  status: "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
  deleteOptions: "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
  patch: "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
} as const;
