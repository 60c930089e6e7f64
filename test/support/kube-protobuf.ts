/** Bodies in Kubernetes' protobuf, as kubectl makes them, for tests that need more of them than kubectl sends. */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

type Entries = Iterable<readonly [string, string]>;

export interface ProtobufSecret {
  readonly name: string;
  readonly labels?: Entries;
  readonly finalizers?: readonly string[];
  /** UIDs. */
  readonly owners?: readonly string[];
}

const delimited = (writer: BinaryWriter, field: number, bytes: Uint8Array): BinaryWriter =>
  writer.tag(field, WireType.LengthDelimited).bytes(bytes);
const text = (writer: BinaryWriter, field: number, value: string): BinaryWriter =>
  writer.tag(field, WireType.LengthDelimited).string(value);

/** A whole body: the magic, the envelope and the Secret. */
export function protobufSecret({ name, labels = [], finalizers = [], owners = [] }: ProtobufSecret): Buffer {
  const metadata = text(new BinaryWriter(), 1, name);
  for (const [key, value] of labels) {
    const entry = new BinaryWriter();
    text(entry, 1, key);
    text(entry, 2, value);
    delimited(metadata, 11, entry.finish());
  }
  for (const uid of owners) {
    const owner = new BinaryWriter();
    text(owner, 1, "Namespace");
    text(owner, 3, "owner");
    text(owner, 4, uid);
    text(owner, 5, "v1");
    delimited(metadata, 13, owner.finish());
  }
  for (const finalizer of finalizers) text(metadata, 14, finalizer);
  const config = new BinaryWriter();
  text(config, 1, ".dockerconfigjson");
  text(config, 2, '{"auths":{}}');
  const secret = delimited(new BinaryWriter(), 1, metadata.finish());
  text(secret, 3, "kubernetes.io/dockerconfigjson");
  delimited(secret, 4, config.finish());
  const type = text(text(new BinaryWriter(), 1, "v1"), 2, "Secret");
  const envelope = delimited(delimited(new BinaryWriter(), 1, type.finish()), 2, secret.finish());
  return Buffer.concat([Buffer.from("k8s\0", "latin1"), envelope.finish()]);
}
