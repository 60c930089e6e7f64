/**
 * Bodies in Kubernetes' protobuf: kubectl 1.32 and later sends its own kinds so (`create secret`, `create namespace`, `auth
 * can-i`) whatever the server prefers. Read only; answers are JSON.
 */
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

import type { Fields } from "./json.ts";
import { badRequest } from "./status.ts";

export const protobufType = "application/vnd.kubernetes.protobuf";

type FieldType = "text" | "bytes" | "flag" | "number" | "texts" | "textMap" | "byteMap" | Message;
/** Fields by their numbers, as the .proto files of Kubernetes have them. What is not named is passed over. */
interface Message {
  readonly [number: number]: readonly [name: string, type: FieldType];
}

const metadata: Message = {
  1: ["name", "text"],
  2: ["generateName", "text"],
  3: ["namespace", "text"],
  5: ["uid", "text"],
  6: ["resourceVersion", "text"],
  11: ["labels", "textMap"],
  12: ["annotations", "textMap"],
  14: ["finalizers", "texts"],
};

const messages: Readonly<Record<string, Message>> = {
  Secret: {
    1: ["metadata", metadata],
    2: ["data", "byteMap"],
    3: ["type", "text"],
    4: ["stringData", "textMap"],
    5: ["immutable", "flag"],
  },
  Namespace: { 1: ["metadata", metadata] },
  SelfSubjectReview: { 1: ["metadata", metadata] },
  SelfSubjectRulesReview: { 1: ["metadata", metadata], 2: ["spec", { 1: ["namespace", "text"] }] },
  SelfSubjectAccessReview: {
    1: ["metadata", metadata],
    2: [
      "spec",
      {
        1: [
          "resourceAttributes",
          {
            1: ["namespace", "text"],
            2: ["verb", "text"],
            3: ["group", "text"],
            4: ["version", "text"],
            5: ["resource", "text"],
            6: ["subresource", "text"],
            7: ["name", "text"],
          },
        ],
        2: ["nonResourceAttributes", { 1: ["path", "text"], 2: ["verb", "text"] }],
      },
    ],
  },
  DeleteOptions: {
    1: ["gracePeriodSeconds", "number"],
    2: ["preconditions", { 1: ["uid", "text"], 2: ["resourceVersion", "text"] }],
    3: ["orphanDependents", "flag"],
    4: ["propagationPolicy", "text"],
    5: ["dryRun", "texts"],
  },
};

/** `k8s` and a zero byte stand before the envelope. */
const magic = Buffer.from("k8s\0", "latin1");
const envelope: Message = { 1: ["typeMeta", { 1: ["apiVersion", "text"], 2: ["kind", "text"] }], 2: ["raw", "bytes"] };

/** The object of a body. Throws 400 for what cannot be read, and for kinds that no client sends so. */
export function decodeProtobuf(body: Buffer): Fields {
  if (!body.subarray(0, magic.length).equals(magic))
    throw badRequest("the body of the request is not a Kubernetes object in protobuf");
  try {
    const { typeMeta = {}, raw } = read(envelope, body.subarray(magic.length)) as { typeMeta?: Fields; raw?: string };
    const { apiVersion, kind } = typeMeta as { apiVersion?: string; kind?: string };
    const message = kind !== undefined && Object.hasOwn(messages, kind) ? messages[kind] : undefined;
    if (message === undefined) throw new TypeError("unknown kind");
    return { apiVersion, kind, ...read(message, Buffer.from(raw ?? "", "base64")) };
  } catch {
    throw badRequest("the body of the request cannot be read as protobuf");
  }
}

function read(message: Message, bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes);
  const fields: Fields = {};
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    const known = Object.hasOwn(message, number) ? message[number] : undefined;
    if (known === undefined) reader.skip(wire, number);
    else readField(reader, wire, known, fields);
  }
  return fields;
}

function readField(
  reader: BinaryReader,
  wire: WireType,
  [name, type]: readonly [string, FieldType],
  fields: Fields,
): void {
  if (type === "flag" || type === "number") {
    if (wire !== WireType.Varint) throw new TypeError("not a number");
    fields[name] = type === "flag" ? reader.bool() : Number(reader.int64());
    return;
  }
  if (wire !== WireType.LengthDelimited) throw new TypeError("not text");
  if (typeof type === "object") fields[name] = read(type, reader.bytes());
  else if (type === "text") {
    // Go writes what is empty too.
    const text = reader.string();
    if (text !== "") fields[name] = text;
  } else if (type === "bytes") fields[name] = Buffer.from(reader.bytes()).toString("base64");
  else if (type === "texts") fields[name] = [...((fields[name] ?? []) as string[]), reader.string()];
  else {
    const entry = read({ 1: ["key", "text"], 2: ["value", type === "textMap" ? "text" : "bytes"] }, reader.bytes());
    const key = typeof entry["key"] === "string" ? entry["key"] : "";
    fields[name] = Object.defineProperty({ ...(fields[name] as Fields | undefined) }, key, {
      value: entry["value"] ?? "",
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
}
