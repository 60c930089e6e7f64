/** The schemas of an OpenAPI document: the kinds of one group version, their lists, and what all share. */
import { apiVersionOf, resourceTypes, schemaOf, type GroupVersion, type ResourceType } from "../resource-types.ts";
import { deleteOptions, listMeta, metaNames, objectMeta, statusObject, type ApiSchema } from "./meta-schemas.ts";

/** Version 2 or 3 of OpenAPI: where schemas stand, and how a reference is described. */
export type Dialect = 2 | 3;

/** `io.deckhouse.virtualization.v1alpha2.ClusterVirtualImage`, `io.k8s.api.core.v1.Secret` */
export function schemaName({ group, version, kind }: Pick<ResourceType, "group" | "version" | "kind">): string {
  return group === ""
    ? `io.k8s.api.core.${version}.${kind}`
    : `${group.split(".").reverse().join(".")}.${version}.${kind}`;
}

export function reference(dialect: Dialect, name: string): ApiSchema {
  return { $ref: `#/${dialect === 2 ? "definitions" : "components/schemas"}/${name}` };
}

/** A described member that is one of the shared schemas. */
function member(dialect: Dialect, name: string, description: string): ApiSchema {
  return dialect === 2
    ? { description, ...reference(2, name) }
    : { description, allOf: [reference(3, name)], default: {} };
}

const ownKind = ({ group, version }: GroupVersion, kind: string) => [{ group, version, kind }];

function kindSchema(dialect: Dialect, type: ResourceType): ApiSchema {
  const schema: ApiSchema = schemaOf(type);
  const properties = {
    ...schema.properties,
    metadata: member(dialect, metaNames.objectMeta, schema.properties?.["metadata"]?.description ?? ""),
  };
  return { ...schema, properties, "x-kubernetes-group-version-kind": ownKind(type, type.kind) };
}

function listSchema(dialect: Dialect, type: ResourceType): ApiSchema {
  return {
    type: "object",
    description: `A list of ${type.kind} objects.`,
    properties: {
      apiVersion: { type: "string", description: `${apiVersionOf(type)}.` },
      kind: { type: "string", description: `${type.kind}List.` },
      metadata: member(dialect, metaNames.listMeta, "What is told about the list."),
      items: { type: "array", description: "The objects.", items: reference(dialect, schemaName(type)) },
    },
    required: ["items"],
    "x-kubernetes-group-version-kind": ownKind(type, `${type.kind}List`),
  };
}

const shared: Readonly<Record<string, ApiSchema>> = {
  [metaNames.objectMeta]: objectMeta,
  [metaNames.listMeta]: listMeta,
  [metaNames.status]: {
    ...statusObject,
    "x-kubernetes-group-version-kind": ownKind({ group: "", version: "v1" }, "Status"),
  },
  [metaNames.deleteOptions]: {
    ...deleteOptions,
    "x-kubernetes-group-version-kind": ownKind({ group: "", version: "v1" }, "DeleteOptions"),
  },
  [metaNames.patch]: { type: "object", description: "A change to an object." },
};

/** Schemas by name, for the kinds of these group versions. */
export function schemasOf(dialect: Dialect, groupVersions: readonly GroupVersion[]): Record<string, ApiSchema> {
  const types = resourceTypes.filter((type) =>
    groupVersions.some(({ group, version }) => type.group === group && type.version === version),
  );
  const own = types.flatMap((type): [string, ApiSchema][] => [
    [schemaName(type), kindSchema(dialect, type)],
    [`${schemaName(type)}List`, listSchema(dialect, type)],
  ]);
  return { ...Object.fromEntries(own), ...shared };
}
