/** What the API serves: the plain lists of old, and the aggregated documents that newer clients ask for. */
import { without } from "./json.ts";
import {
  apiVersionOf,
  groupVersions,
  resourceTypes,
  reviewTypes,
  type GroupVersion,
  type ResourceType,
  type ReviewType,
} from "./resource-types.ts";

const statusVerbs = ["get", "patch", "update"];

const isOf =
  ({ group, version }: GroupVersion) =>
  (type: ResourceType | ReviewType): boolean =>
    type.group === group && type.version === version;

/** The newest API that we follow; kubectl compares its own version with it. */
export const serverVersion = { major: "1", minor: "32", gitVersion: "v1.32.0+dvcr" } as const;

export const versionInfo = {
  ...serverVersion,
  gitCommit: "",
  gitTreeState: "archive",
  buildDate: "1970-01-01T00:00:00Z",
  goVersion: "",
  compiler: "",
  platform: `${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}`,
};

/** `/api` */
export const coreVersions = { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] };

/** `/apis/GROUP` */
export function groupOf(group: string): Record<string, unknown> | undefined {
  const versions = groupVersions
    .filter((one) => one.group === group && group !== "")
    .map((one) => ({ groupVersion: apiVersionOf(one), version: one.version }));
  return versions.length === 0
    ? undefined
    : { kind: "APIGroup", apiVersion: "v1", name: group, versions, preferredVersion: versions[0] };
}

/** `/apis` */
export function groupList(): Record<string, unknown> {
  const groups = groupVersions
    .filter(({ group }) => group !== "")
    .map(({ group }) => without(groupOf(group)!, "kind", "apiVersion"));
  return { kind: "APIGroupList", apiVersion: "v1", groups };
}

/** `/api/v1`, `/apis/GROUP/VERSION` */
export function resourceList(groupVersion: GroupVersion): Record<string, unknown> {
  const stored = resourceTypes.filter(isOf(groupVersion)).flatMap((type) => {
    const entry = {
      name: type.resource,
      singularName: type.singular,
      namespaced: type.namespaced,
      kind: type.kind,
      verbs: type.verbs,
      ...(type.shortNames.length === 0 ? {} : { shortNames: type.shortNames }),
      ...(type.categories.length === 0 ? {} : { categories: type.categories }),
    };
    const status = {
      name: `${type.resource}/status`,
      singularName: "",
      namespaced: type.namespaced,
      kind: type.kind,
      verbs: statusVerbs,
    };
    return type.hasStatus ? [entry, status] : [entry];
  });
  const reviews = reviewTypes.filter(isOf(groupVersion)).map(({ resource, singular, kind }) => ({
    name: resource,
    singularName: singular,
    namespaced: false,
    kind,
    verbs: ["create"],
  }));
  return {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: apiVersionOf(groupVersion),
    resources: [...stored, ...reviews],
  };
}

/** `/api` and `/apis` as one APIGroupDiscoveryList of apidiscovery.k8s.io. */
export function aggregatedDiscovery(path: "/api" | "/apis", version: "v2" | "v2beta1"): Record<string, unknown> {
  const served = groupVersions.filter(({ group }) => (group === "") === (path === "/api"));
  const items = served.map((groupVersion) => ({
    metadata: { name: groupVersion.group, creationTimestamp: null },
    versions: [{ version: groupVersion.version, freshness: "Current", resources: discoveredResources(groupVersion) }],
  }));
  return { kind: "APIGroupDiscoveryList", apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items };
}

function discoveredResources(groupVersion: GroupVersion): Record<string, unknown>[] {
  const stored = resourceTypes.filter(isOf(groupVersion)).map((type) => {
    const responseKind = { ...groupVersion, kind: type.kind };
    return {
      resource: type.resource,
      responseKind,
      scope: type.namespaced ? "Namespaced" : "Cluster",
      singularResource: type.singular,
      verbs: type.verbs,
      shortNames: type.shortNames,
      categories: type.categories,
      ...(type.hasStatus ? { subresources: [{ subresource: "status", responseKind, verbs: statusVerbs }] } : {}),
    };
  });
  const reviews = reviewTypes.filter(isOf(groupVersion)).map(({ resource, singular, kind }) => ({
    resource,
    responseKind: { ...groupVersion, kind },
    scope: "Cluster",
    singularResource: singular,
    verbs: ["create"],
  }));
  return [...stored, ...reviews];
}
