/** Schemas of the core resources that the service knows. */
import { object, resource, text, type JsonSchema } from "./json-schema.ts";

export const dockerConfigType = "kubernetes.io/dockerconfigjson";
export const dockerConfigKey = ".dockerconfigjson";

export const secretSchema: JsonSchema = resource("Credentials for container registries.", {
  type: text("Type of the Secret; only this one is kept.", { enum: [dockerConfigType] }),
  data: {
    type: "object",
    description: `Under ${dockerConfigKey} a docker config.json, in base64.`,
    additionalProperties: text("Base64.", { format: "byte" }),
  },
  stringData: {
    type: "object",
    description: "The same as plain text; merged into data and never read back.",
    additionalProperties: text("Plain text."),
  },
  immutable: { type: "boolean", description: "True: data cannot be changed." },
});

export const namespaceSchema: JsonSchema = resource("A space for names. Made when something is first created in it.", {
  spec: { type: "object", description: "Not used.", "x-kubernetes-preserve-unknown-fields": true },
  status: object("State of the namespace.", { phase: text("Active.", { enum: ["Active", "Terminating"] }) }),
});

const preserved = (description: string): JsonSchema => ({
  type: "object",
  description,
  "x-kubernetes-preserve-unknown-fields": true,
});

export const eventSchema: JsonSchema = resource("Something that happened to an object.", {
  involvedObject: preserved("The object that this is about."),
  reason: text("What happened, in one word for programs."),
  message: text("What happened, in a sentence for people."),
  type: text("Normal or Warning."),
  count: { type: "integer", format: "int32", description: "How often it happened." },
  firstTimestamp: text("When it happened first.", { format: "date-time" }),
  lastTimestamp: text("When it happened last.", { format: "date-time" }),
  source: preserved("Who reports it."),
  reportingComponent: text("Who reports it."),
  reportingInstance: text("Which one of them."),
});
