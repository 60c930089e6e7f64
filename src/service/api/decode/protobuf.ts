/**
 * Bodies in Kubernetes' protobuf: kubectl 1.32 and later sends its own kinds so (`create secret`, `create namespace`,
 * `auth can-i`) whatever the server prefers. Read only; answers are JSON.
 */
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

import type { Fields } from "../json.ts";
import { badRequest, StatusError } from "../status.ts";
import { longestName, mostValues, nameTooLong, prototypeField, tooManyValues } from "./limits.ts";

export const protobufType = "application/vnd.kubernetes.protobuf";

type FieldType = "text" | "bytes" | "flag" | "number" | "texts" | "textMap" | "byteMap" | Message | readonly [Message];
/**
 * Fields by their numbers, as the .proto files of Kubernetes have them; a message in a list is repeated. What is not
 * named is passed over.
 */
interface Message {
  readonly [number: number]: readonly [name: string, type: FieldType];
}

const ownerReference: Message = {
  1: ["kind", "text"],
  3: ["name", "text"],
  4: ["uid", "text"],
  5: ["apiVersion", "text"],
  6: ["controller", "flag"],
  7: ["blockOwnerDeletion", "flag"],
};

const metadata: Message = {
  1: ["name", "text"],
  2: ["generateName", "text"],
  3: ["namespace", "text"],
  5: ["uid", "text"],
  6: ["resourceVersion", "text"],
  11: ["labels", "textMap"],
  12: ["annotations", "textMap"],
  13: ["ownerReferences", [ownerReference]],
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

/** Throws 400 for what cannot be read, and for kinds that no client sends so; 413 for more values than the limit. */
export function decodeProtobuf(body: Buffer): Fields {
  if (!body.subarray(0, magic.length).equals(magic))
    throw badRequest("the body of the request is not a Kubernetes object in protobuf");
  try {
    const outer = new MessageReader().read(envelope, body.subarray(magic.length));
    const { typeMeta = {}, raw } = outer as { typeMeta?: Fields; raw?: string };
    const { apiVersion, kind } = typeMeta as { apiVersion?: string; kind?: string };
    const message = kind !== undefined && Object.hasOwn(messages, kind) ? messages[kind] : undefined;
    if (message === undefined) throw new TypeError("unknown kind");
    return { apiVersion, kind, ...new MessageReader().read(message, Buffer.from(raw ?? "", "base64")) };
  } catch (error) {
    throw error instanceof StatusError ? error : badRequest("the body of the request cannot be read as protobuf");
  }
}

/** Reads the messages of one body, and counts what it finds in them. */
class MessageReader {
  #values = 0;

  read(message: Message, bytes: Uint8Array): Fields {
    const reader = new BinaryReader(bytes);
    const fields: Fields = {};
    while (reader.pos < reader.len) {
      if ((this.#values += 1) > mostValues) throw tooManyValues();
      const [number, wire] = reader.tag();
      const known = Object.hasOwn(message, number) ? message[number] : undefined;
      if (known === undefined) reader.skip(wire, number);
      else this.#readField(reader, wire, known, fields);
    }
    return fields;
  }

  #readField(reader: BinaryReader, wire: WireType, [name, type]: readonly [string, FieldType], fields: Fields): void {
    if (type === "flag" || type === "number") {
      if (wire !== WireType.Varint) throw new TypeError("not a number");
      fields[name] = type === "flag" ? reader.bool() : Number(reader.int64());
      return;
    }
    if (wire !== WireType.LengthDelimited) throw new TypeError("not text");
    if (type === "text") {
      // Go writes what is empty too.
      const text = reader.string();
      if (text !== "") fields[name] = text;
    } else if (type === "bytes") fields[name] = Buffer.from(reader.bytes()).toString("base64");
    else if (type === "texts") ((fields[name] ??= []) as string[]).push(reader.string());
    else if (type === "textMap" || type === "byteMap")
      this.#readEntry(reader.bytes(), type === "textMap" ? "text" : "bytes", (fields[name] ??= {}) as Fields);
    else if (isRepeated(type)) ((fields[name] ??= []) as Fields[]).push(this.read(type[0], reader.bytes()));
    else fields[name] = this.read(type, reader.bytes());
  }

  #readEntry(bytes: Uint8Array, type: "text" | "bytes", map: Fields): void {
    const { key, value = "" } = this.read({ 1: ["key", "text"], 2: ["value", type] }, bytes);
    const name = typeof key === "string" ? key : "";
    if (name === "__proto__") throw prototypeField();
    if (name.length > longestName) throw nameTooLong();
    map[name] = value;
  }
}

const isRepeated = (type: Message | readonly [Message]): type is readonly [Message] => Array.isArray(type);
