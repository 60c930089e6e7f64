/** Validation of objects, told as the Kubernetes API server tells it (apimachinery's field errors). */
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import { dockerConfigKey } from "./core-schema.ts";
import type { ImageDataSource, ImageObject, SecretObject } from "./image.ts";
import { memberOf, memberRule, namespaceRequired } from "./image-schema.ts";
import type { KubeObject } from "./object.ts";
import { isBase64, linearCheck } from "./patterns.ts";
import { schemas, type Kind } from "./schemas.ts";

/** One thing wrong with one field. */
export interface FieldProblem {
  /** `spec.dataSource.http.url` */
  readonly field: string;
  /** As in `details.causes` of a Status. */
  readonly reason:
    | "FieldValueInvalid"
    | "FieldValueRequired"
    | "FieldValueNotSupported"
    | "FieldValueTypeInvalid"
    | "FieldValueTooLong";
  /** `Invalid value: "x": …`, without the field. */
  readonly message: string;
}

const ajv = new Ajv({
  allErrors: true,
  verbose: true,
  strictTypes: false,
  formats: { byte: isBase64, "date-time": true, int32: true, int64: true },
  keywords: [
    "example",
    "x-kubernetes-validations",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
  ],
  // ajv tells its patterns apart by their text.
  code: {
    regExp: Object.assign((pattern: string) => ({ test: linearCheck(pattern), toString: () => pattern }), {
      code: "linearCheck",
    }),
  },
});

const compiled = new Map<Kind, ValidateFunction>();

function validatorOf(kind: Kind): ValidateFunction {
  let validator = compiled.get(kind);
  if (validator === undefined) {
    // The status is the service's own; what a client sends of it is dropped.
    const properties = Object.entries(schemas[kind].properties ?? {}).filter(([name]) => name !== "status");
    compiled.set(kind, (validator = ajv.compile({ ...schemas[kind], properties: Object.fromEntries(properties) })));
  }
  return validator;
}

/** Everything that is wrong with an object of a kind that the service knows. */
export function validateObject(object: KubeObject): FieldProblem[] {
  if (object.kind === "ClusterVirtualImage" || object.kind === "VirtualImage")
    return validateImage(object as ImageObject);
  if (object.kind === "Secret") return validateSecret(object as SecretObject);
  return [...nameProblems(object), ...schemaProblems(object)];
}

/** Everything that is wrong with an image's name and spec; nothing of it needs another object to be told. */
export function validateImage(image: ImageObject): FieldProblem[] {
  const problems = [...nameProblems(image), ...schemaProblems(image)];
  return problems.length > 0 ? problems : sourceProblems(image.spec.dataSource, image.kind);
}

/** Bytes of a Secret's values: credentials of many registries, and no more. */
const largestSecret = 256 * 1024;

/** As validateImage(). Never shows anything of the Secret's data. */
export function validateSecret(secret: SecretObject): FieldProblem[] {
  const problems = [...nameProblems(secret), ...schemaProblems(secret)];
  if (problems.length > 0) return problems;
  const size = Object.values(secret.data ?? {}).reduce((sum, value) => sum + Buffer.byteLength(value, "base64"), 0);
  if (size > largestSecret)
    return [
      { field: "data", reason: "FieldValueTooLong", message: `Too long: may not be more than ${largestSecret} bytes` },
    ];
  const field = `data[${dockerConfigKey}]`;
  const encoded = secret.data?.[dockerConfigKey];
  if (encoded === undefined) return [{ field, reason: "FieldValueRequired", message: "Required value" }];
  if (isJsonObject(Buffer.from(encoded, "base64").toString("utf8"))) return [];
  return [
    {
      field,
      reason: "FieldValueInvalid",
      message: 'Invalid value: "<secret contents redacted>": must be a docker config.json',
    },
  ];
}

function isJsonObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

const subdomain = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;

/** RFC 1123, as Kubernetes has it: a label for namespaces, a subdomain for all other names. */
function nameProblems({ kind, metadata }: KubeObject): FieldProblem[] {
  const { name } = metadata;
  if (typeof name !== "string" || name === "")
    return [
      {
        field: "metadata.name",
        reason: "FieldValueRequired",
        message: "Required value: name or generateName is required",
      },
    ];
  const most = kind === "Namespace" ? 63 : 253;
  const isName = subdomain.test(name) && (kind !== "Namespace" || !name.includes("."));
  const why =
    name.length > most
      ? `must be no more than ${most} characters`
      : `a lowercase RFC 1123 ${kind === "Namespace" ? "label" : "subdomain"} must consist of ` +
        `lower case alphanumeric characters${kind === "Namespace" ? " or '-'" : ", '-' or '.'"}, ` +
        "and must start and end with an alphanumeric character";
  return isName && name.length <= most ? [] : [invalid("metadata.name", name, why)];
}

function schemaProblems(object: KubeObject): FieldProblem[] {
  const validator = validatorOf(object.kind as Kind);
  return validator(object) ? [] : (validator.errors ?? []).map(problemOf);
}

const compiledStatus = new Map<Kind, ValidateFunction>();

/** Everything that is wrong with a status that somebody else than the service writes. */
export function statusSchemaProblems(kind: Kind, status: unknown): FieldProblem[] {
  let validator = compiledStatus.get(kind);
  if (validator === undefined) {
    const { status: schema } = schemas[kind].properties ?? {};
    validator = ajv.compile({ type: "object", properties: { status: schema ?? {} } });
    compiledStatus.set(kind, validator);
  }
  return validator({ status }) ? [] : (validator.errors ?? []).map(problemOf);
}

function sourceProblems(source: ImageDataSource, kind: string): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const own = memberOf[source.type];
  const given = Object.values(memberOf).filter((member) => source[member] !== undefined);
  const isMissing = source.type !== "Upload" && !given.includes(own);
  if (isMissing || given.some((member) => member !== own)) {
    problems.push({
      field: "spec.dataSource",
      reason: "FieldValueInvalid",
      message: `Invalid value: "object": ${memberRule(source.type)}`,
    });
  }
  const ref = source.objectRef;
  if (kind === "ClusterVirtualImage" && ref !== undefined && ref.kind !== "ClusterVirtualImage") {
    const { namespace = "" } = ref;
    if (namespace === "" || namespace.length > 63) {
      problems.push({
        field: "spec.dataSource.objectRef",
        reason: "FieldValueInvalid",
        message: `Invalid value: "object": ${namespaceRequired}`,
      });
    }
  }
  return problems;
}

/** Longest value that a message repeats. */
const shownLength = 200;

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > shownLength ? `${text.slice(0, shownLength)}…"` : text;
}

const invalid = (field: string, value: unknown, why: string): FieldProblem => ({
  field,
  reason: "FieldValueInvalid",
  message: `Invalid value: ${shown(value)}: ${why}`,
});

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value === "number" ? (Number.isInteger(value) ? "integer" : "number") : typeof value;
}

/** `/spec/dataSource/items/0` as `spec.dataSource.items[0]`. */
function fieldOf(pointer: string): string {
  const parts = pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return parts.reduce(
    (path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path === "" ? part : `${path}.${part}`),
    "",
  );
}

function problemOf(error: ErrorObject): FieldProblem {
  const field = fieldOf(error.instancePath);
  const params = error.params as Record<string, unknown>;
  switch (error.keyword) {
    case "required": {
      const name = String(params["missingProperty"]);
      return {
        field: field === "" ? name : `${field}.${name}`,
        reason: "FieldValueRequired",
        message: "Required value",
      };
    }
    case "enum": {
      const values = (params["allowedValues"] as string[]).map((value) => JSON.stringify(value)).join(", ");
      return {
        field,
        reason: "FieldValueNotSupported",
        message: `Unsupported value: ${shown(error.data)}: supported values: ${values}`,
      };
    }
    case "type": {
      const type = typeOf(error.data);
      return {
        field,
        reason: "FieldValueTypeInvalid",
        message: `Invalid value: "${type}": ${field} in body must be of type ${String(params["type"])}: "${type}"`,
      };
    }
    case "maxLength":
      return {
        field,
        reason: "FieldValueTooLong",
        message: `Too long: may not be more than ${String(params["limit"])} bytes`,
      };
    case "minLength":
      return invalid(field, error.data, `${field} in body should be at least ${String(params["limit"])} chars long`);
    case "format":
      return invalid(field, error.data, `${field} in body must be of type ${String(params["format"])}`);
    case "pattern":
      return invalid(field, error.data, `${field} in body should match '${String(params["pattern"])}'`);
    default:
      return invalid(field, error.data, error.message ?? error.keyword);
  }
}
