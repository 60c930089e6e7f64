/** The resources that the API serves, as discovery tells them. */
import { imageGroup, imageVersion } from "../model/image.ts";
import type { ResourceName } from "../model/object.ts";
import { schemas, type Kind } from "../model/schemas.ts";
import type { JsonSchema } from "../model/json-schema.ts";

export type Verb = "create" | "delete" | "deletecollection" | "get" | "list" | "patch" | "update" | "watch";

export interface ResourceType {
  /** Plural name, as in paths. */
  readonly resource: ResourceName;
  readonly singular: string;
  readonly kind: Kind;
  /** "" for the core group. */
  readonly group: string;
  readonly version: string;
  readonly namespaced: boolean;
  /** Has `/status`, which only it writes. */
  readonly hasStatus: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly Verb[];
  /** Kubernetes merges its own kinds by strategic merge patch, custom ones never. */
  readonly custom: boolean;
}

const allVerbs: readonly Verb[] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const custom = { group: imageGroup, version: imageVersion, hasStatus: true, verbs: allVerbs, custom: true } as const;
const core = { group: "", version: "v1", hasStatus: false, custom: false } as const;

export const resourceTypes: readonly ResourceType[] = [
  {
    ...custom,
    resource: "clustervirtualimages",
    singular: "clustervirtualimage",
    kind: "ClusterVirtualImage",
    namespaced: false,
    shortNames: ["cvi", "cvis"],
    categories: ["virtualization-cluster"],
  },
  {
    ...custom,
    resource: "virtualimages",
    singular: "virtualimage",
    kind: "VirtualImage",
    namespaced: true,
    shortNames: ["vi", "vis"],
    categories: ["virtualization"],
  },
  {
    ...core,
    resource: "namespaces",
    singular: "namespace",
    kind: "Namespace",
    namespaced: false,
    shortNames: ["ns"],
    categories: [],
    verbs: ["create", "delete", "get", "list", "patch", "update", "watch"],
  },
  {
    ...core,
    resource: "secrets",
    singular: "secret",
    kind: "Secret",
    namespaced: true,
    shortNames: [],
    categories: [],
    verbs: allVerbs,
  },
  {
    ...core,
    resource: "events",
    singular: "event",
    kind: "Event",
    namespaced: true,
    shortNames: ["ev"],
    categories: [],
    verbs: ["delete", "deletecollection", "get", "list", "watch"],
  },
];

export interface GroupVersion {
  readonly group: string;
  readonly version: string;
}

/** Served group versions, the core group first. */
export const groupVersions: readonly GroupVersion[] = [
  { group: "", version: "v1" },
  { group: "authentication.k8s.io", version: "v1" },
  { group: "authorization.k8s.io", version: "v1" },
  { group: imageGroup, version: imageVersion },
];

/** Requests that are answered by what they say themselves: POST only, nothing is stored. */
export interface ReviewType {
  readonly resource: string;
  readonly singular: string;
  readonly kind: string;
  readonly group: string;
  readonly version: string;
}

export const reviewTypes: readonly ReviewType[] = [
  {
    resource: "selfsubjectreviews",
    singular: "selfsubjectreview",
    kind: "SelfSubjectReview",
    group: "authentication.k8s.io",
    version: "v1",
  },
  {
    resource: "selfsubjectaccessreviews",
    singular: "selfsubjectaccessreview",
    kind: "SelfSubjectAccessReview",
    group: "authorization.k8s.io",
    version: "v1",
  },
  {
    resource: "selfsubjectrulesreviews",
    singular: "selfsubjectrulesreview",
    kind: "SelfSubjectRulesReview",
    group: "authorization.k8s.io",
    version: "v1",
  },
];

/** `v1`, `virtualization.deckhouse.io/v1alpha2` */
export const apiVersionOf = ({ group, version }: GroupVersion): string =>
  group === "" ? version : `${group}/${version}`;

/** `/api/v1`, `/apis/virtualization.deckhouse.io/v1alpha2` */
export const pathOf = ({ group, version }: GroupVersion): string =>
  group === "" ? `/api/${version}` : `/apis/${group}/${version}`;

export const schemaOf = ({ kind }: Pick<ResourceType, "kind">): JsonSchema => schemas[kind];

/** The type of a stored resource. */
export function typeOf(resource: ResourceName): ResourceType {
  return resourceTypes.find((type) => type.resource === resource)!;
}
