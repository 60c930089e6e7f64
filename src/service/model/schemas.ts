import { eventSchema, namespaceSchema, secretSchema } from "./core-schema.ts";
import { clusterVirtualImageSchema, virtualImageSchema } from "./image-schema.ts";
import type { JsonSchema } from "./json-schema.ts";

export type Kind = "ClusterVirtualImage" | "VirtualImage" | "Secret" | "Namespace" | "Event";

/** The one schema of each kind: for validation, OpenAPI and `kubectl explain`. */
export const schemas: Readonly<Record<Kind, JsonSchema>> = {
  ClusterVirtualImage: clusterVirtualImageSchema,
  VirtualImage: virtualImageSchema,
  Secret: secretSchema,
  Namespace: namespaceSchema,
  Event: eventSchema,
};
