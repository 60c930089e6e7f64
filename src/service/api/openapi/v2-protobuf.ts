/**
 * OpenAPI v2 in gnostic's protobuf (openapiv2/OpenAPIv2.proto): the only form that kubectl up to 1.28 takes it in. What
 * clients do not read of it is left out: responses, media types, examples.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { stringify } from "yaml";

import { isFields, type Fields } from "../json.ts";
import type { ApiSchema } from "./meta-schemas.ts";

export const openApiProtobufType = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/** What kubectl asks for; with its "@" it is no media type that an answer could carry. */
export const askedProtobufType = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

type Write = (writer: BinaryWriter) => void;

function message(writer: BinaryWriter, field: number, write: Write): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write(writer);
  writer.join();
}

function text(writer: BinaryWriter, field: number, value: unknown): void {
  if (typeof value === "string" && value !== "") writer.tag(field, WireType.LengthDelimited).string(value);
}

function texts(writer: BinaryWriter, field: number, values: readonly string[] | undefined): void {
  for (const value of values ?? []) text(writer, field, value);
}

/** NamedX: `name = 1`, `value = 2`. */
function named(writer: BinaryWriter, field: number, name: string, value: Write): void {
  message(writer, field, (entry) => {
    text(entry, 1, name);
    message(entry, 2, value);
  });
}

/** Any: the YAML of the value. */
const any =
  (value: unknown): Write =>
  (writer) =>
    text(writer, 2, stringify(value));

function extensions(writer: BinaryWriter, field: number, of: object): void {
  for (const [name, value] of Object.entries(of)) if (name.startsWith("x-")) named(writer, field, name, any(value));
}

/** `document` as made for JSON. */
export function toProtobuf(document: Fields): Buffer {
  const writer = new BinaryWriter();
  const { swagger, info, paths, definitions } = document as {
    swagger: string;
    info: Fields;
    paths: Readonly<Record<string, Fields>>;
    definitions: Readonly<Record<string, ApiSchema>>;
  };
  text(writer, 1, swagger);
  message(writer, 2, (one) => {
    text(one, 1, info["title"]);
    text(one, 2, info["version"]);
  });
  message(writer, 8, (one) => {
    for (const [path, item] of Object.entries(paths)) named(one, 2, path, pathItem(item));
  });
  message(writer, 9, (one) => {
    for (const [name, definition] of Object.entries(definitions)) named(one, 1, name, schema(definition));
  });
  return Buffer.from(writer.finish());
}

const methodFields: Readonly<Record<string, number>> = { get: 2, put: 3, post: 4, delete: 5, patch: 8 };

const pathItem =
  (item: Fields): Write =>
  (writer) => {
    for (const [method, field] of Object.entries(methodFields)) {
      const operation = item[method];
      if (isFields(operation)) message(writer, field, operationOf(operation));
    }
  };

const operationOf =
  (operation: Fields): Write =>
  (writer) => {
    text(writer, 3, operation["description"]);
    text(writer, 5, operation["operationId"]);
    for (const parameter of operation["parameters"] as readonly Fields[]) {
      if (parameter["in"] === "query") message(writer, 8, queryParameter(parameter));
    }
    extensions(writer, 13, operation);
  };

/** ParametersItem of a Parameter of a NonBodyParameter of a QueryParameterSubSchema. */
const queryParameter =
  (parameter: Fields): Write =>
  (item) =>
    message(item, 1, (one) =>
      message(one, 2, (nonBody) =>
        message(nonBody, 3, (query) => {
          text(query, 2, parameter["in"]);
          text(query, 3, parameter["description"]);
          text(query, 4, parameter["name"]);
          text(query, 6, parameter["type"]);
        }),
      ),
    );

const schema =
  (of: ApiSchema): Write =>
  (writer) => {
    text(writer, 1, of.$ref);
    text(writer, 2, of.format);
    text(writer, 4, of.description);
    texts(writer, 19, of.required);
    if (of.additionalProperties !== undefined)
      message(writer, 21, (one) => message(one, 1, schema(of.additionalProperties!)));
    if (of.type !== undefined) message(writer, 22, (one) => text(one, 1, of.type));
    if (of.items !== undefined) message(writer, 23, (one) => message(one, 1, schema(of.items!)));
    if (of.properties !== undefined) {
      message(writer, 25, (one) => {
        for (const [name, property] of Object.entries(of.properties!)) named(one, 1, name, schema(property));
      });
    }
    extensions(writer, 31, of);
  };
