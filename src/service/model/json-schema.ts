/** What we use of OpenAPI's structural schemas: ajv validates by it, `kubectl explain` and `apply` read it. */
export interface JsonSchema {
  readonly type?: "object" | "array" | "string" | "boolean" | "integer";
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly additionalProperties?: JsonSchema;
  readonly enum?: readonly string[];
  readonly default?: string;
  readonly pattern?: string;
  readonly format?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly example?: string;
  /** The rules of validate.ts that go beyond a schema, as the API server shows them. */
  readonly "x-kubernetes-validations"?: readonly { readonly rule: string; readonly message: string }[];
  readonly "x-kubernetes-preserve-unknown-fields"?: true;
  readonly "x-kubernetes-list-type"?: "map";
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
}

export type Properties = Readonly<Record<string, JsonSchema>>;

export const text = (description: string, more: Omit<JsonSchema, "type" | "description"> = {}): JsonSchema => ({
  type: "string",
  description,
  ...more,
});

export const object = (
  description: string,
  properties: Properties,
  required: readonly string[] = [],
  more: Omit<JsonSchema, "type" | "description" | "properties" | "required"> = {},
): JsonSchema => ({
  type: "object",
  description,
  properties,
  ...(required.length === 0 ? {} : { required }),
  ...more,
});

/** A whole resource: the fields that all have, and its own. */
export const resource = (
  description: string,
  properties: Properties,
  required: readonly string[] = [],
  more: Omit<JsonSchema, "type" | "description" | "properties" | "required"> = {},
): JsonSchema =>
  object(
    description,
    {
      apiVersion: text("Group and version of the resource."),
      kind: text("Kind of the resource."),
      metadata: {
        type: "object",
        description: "Name, namespace, labels and annotations, and what the server keeps about the object.",
      },
      ...properties,
    },
    required,
    more,
  );
