/** The service's own kinds as CustomResourceDefinitions, made of the schemas that it validates by. */
import { schemas, type Kind } from "../../../src/service/model/schemas.ts";
import { resourceTypes } from "../../../src/service/api/resource-types.ts";

/** The real API server knows metadata itself and takes no description of it. */
function structuralSchema(kind: Kind): object {
  const { properties, ...schema } = schemas[kind];
  return { ...schema, properties: { ...properties, metadata: { type: "object" } } };
}

/** For the real API server: it then checks and stores what the service does. */
export const customResourceDefinitions = (): readonly object[] =>
  resourceTypes
    .filter(({ custom }) => custom)
    .map(({ resource, singular, kind, group, version, namespaced, shortNames, categories }) => ({
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: `${resource}.${group}` },
      spec: {
        group,
        names: { plural: resource, singular, kind, listKind: `${kind}List`, shortNames, categories },
        scope: namespaced ? "Namespaced" : "Cluster",
        versions: [
          {
            name: version,
            served: true,
            storage: true,
            schema: { openAPIV3Schema: structuralSchema(kind) },
            selectableFields: [{ jsonPath: ".status.phase" }],
            subresources: { status: {} },
          },
        ],
      },
    }));
