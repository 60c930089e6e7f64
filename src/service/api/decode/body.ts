/** Bodies of requests: JSON, YAML or Kubernetes' protobuf, one value each, held to the limits of limits.ts. */
import { isFields, type Fields } from "../json.ts";
import { badRequest, StatusError, unsupportedMediaType } from "../status.ts";
import { scanJson } from "./json-scan.ts";
import { decodeProtobuf, protobufType } from "./protobuf.ts";
import { decodeYaml } from "./yaml.ts";

export const objectTypes = ["application/json", "application/yaml", protobufType];

export const mediaType = (contentType: string | undefined): string =>
  (contentType ?? "").split(";")[0]!.trim().toLowerCase();

/** The bytes of a request's body; `missing` where it has none. */
export const bodyOf = ({ body }: { readonly body: unknown }, missing = ""): Buffer =>
  Buffer.isBuffer(body) ? body : Buffer.from(missing);

/** What a body holds. */
export interface Decoded<T> {
  readonly value: T;
  /** Paths of members that stand in one object twice, as `spec.dataSource.type`; the last one counts. */
  readonly repeated: readonly string[];
}

/** The object of a body. Throws 400, 413 and 415. */
export function decodeObject(body: Buffer, contentType: string | undefined): Decoded<Fields> {
  const type = mediaType(contentType);
  if (type === protobufType) return { value: decodeProtobuf(body), repeated: [] };
  // Without a type it is taken for JSON, which curl calls a form.
  if (!["", ...objectTypes, "application/x-www-form-urlencoded"].includes(type))
    throw unsupportedMediaType(objectTypes);
  return objectOf(type === "application/yaml" ? decodeYamlOrJson(body) : decodeJson(body));
}

/** Throws 400 for what is no object. */
export function objectOf({ value, repeated }: Decoded<unknown>): Decoded<Fields> {
  if (!isFields(value)) throw badRequest("the body of the request is not an object");
  return { value, repeated };
}

/** Any JSON value. Throws 400 and 413. */
export const decodeJson = (body: Buffer): Decoded<unknown> =>
  decoded("json", () => {
    const text = body.toString("utf8");
    const repeated = scanJson(text);
    return { value: JSON.parse(text) as unknown, repeated };
  });

/**
 * The same from YAML; what begins as a JSON object is read as such, as kubectl sends what it applies. Throws 400 and
 * 413.
 */
export function decodeYamlOrJson(body: Buffer): Decoded<unknown> {
  const text = body.toString("utf8");
  if (/^\s*\{/.test(text)) {
    try {
      return decodeJson(body);
    } catch (error) {
      // It may be a flow mapping of YAML's own, unless it is beyond the limits.
      if (!(error instanceof StatusError) || error.message !== notReadable("json").message) throw error;
    }
  }
  return decoded("yaml", () => decodeYaml(text));
}

/** The parsers' own words may quote the body, and with it a secret. */
const notReadable = (form: "json" | "yaml"): StatusError =>
  badRequest(`the object provided is unrecognized: couldn't get version/kind; ${form} parse error`);

function decoded(form: "json" | "yaml", decode: () => Decoded<unknown>): Decoded<unknown> {
  try {
    return decode();
  } catch (error) {
    throw error instanceof StatusError ? error : notReadable(form);
  }
}
