/** Bodies of requests: JSON or YAML, one object. */
import { isMap, isScalar, isSeq, parseDocument, type Document } from "yaml";

import { isFields, type Fields } from "./json.ts";
import { decodeProtobuf, protobufType } from "./protobuf.ts";
import { badRequest, unsupportedMediaType } from "./status.ts";

export const objectTypes = ["application/json", "application/yaml", protobufType];

/** Deeper than any object we know; protects what walks it. */
const deepest = 64;

export const mediaType = (contentType: string | undefined): string =>
  (contentType ?? "").split(";")[0]!.trim().toLowerCase();

/** The bytes of a request's body; `missing` where it has none. */
export const bodyOf = ({ body }: { readonly body: unknown }, missing = ""): Buffer =>
  Buffer.isBuffer(body) ? body : Buffer.from(missing);

/** The object of a body. Throws 400 and 415. */
export function decodeObject(body: Buffer, contentType: string | undefined): Fields {
  const type = mediaType(contentType);
  if (type === protobufType) {
    const object = decodeProtobuf(body);
    checkShape(object);
    return object;
  }
  // Without a type it is taken for JSON, which curl calls a form.
  if (!["", ...objectTypes, "application/x-www-form-urlencoded"].includes(type))
    throw unsupportedMediaType(objectTypes);
  const value = decodeValue(body, type === "application/yaml");
  if (!isFields(value)) throw badRequest("the body of the request is not an object");
  return value;
}

/** Any JSON value, from JSON or YAML. Throws 400. */
export function decodeValue(body: Buffer, isYaml: boolean): unknown {
  const text = body.toString("utf8");
  let value: unknown;
  try {
    value = isYaml ? yamlDocument(text).toJS({ maxAliasCount: 100 }) : JSON.parse(text);
  } catch {
    // The parsers' own words may quote the body, and with it a secret.
    throw badRequest(
      `the object provided is unrecognized: couldn't get version/kind; ${isYaml ? "yaml" : "json"} parse error`,
    );
  }
  checkShape(value);
  return value;
}

function yamlDocument(text: string): Document {
  const document = parseDocument(text, { uniqueKeys: false, merge: false, logLevel: "silent" });
  if (document.errors.length > 0) throw document.errors[0]!;
  return document;
}

function checkShape(value: unknown): void {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > deepest) throw badRequest("the body of the request is nested too deeply");
    const next: unknown[] = [];
    for (const one of level) {
      if (Array.isArray(one)) for (const item of one) next.push(item);
      else if (isFields(one)) {
        if (Object.hasOwn(one, "__proto__")) throw badRequest('unknown field "__proto__"');
        for (const item of Object.values(one)) next.push(item);
      }
    }
    level = next;
  }
}

/** Paths of members that stand in the text twice, as `spec.dataSource.type`. The body was decoded before. */
export function duplicateFields(body: Buffer, contentType?: string): string[] {
  if (mediaType(contentType) === protobufType) return [];
  const found: string[] = [];
  const walk = (node: unknown, path: string): void => {
    if (isSeq(node))
      node.items.forEach((item, index) => {
        walk(item, `${path}[${index}]`);
      });
    if (!isMap(node)) return;
    const seen = new Set<string>();
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : "";
      const at = path === "" ? name : `${path}.${name}`;
      if (seen.has(name)) found.push(at);
      seen.add(name);
      walk(value, at);
    }
  };
  // JSON is YAML, so one reader finds them in both.
  walk(yamlDocument(body.toString("utf8")).contents, "");
  return [...new Set(found)];
}
