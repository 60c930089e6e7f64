/** The columns of `kubectl get`, as the CRDs and the core resources have them. */
import type { KubeObject, ResourceName } from "../../model/object.ts";
import { at, fieldsOf, textOf, type Fields } from "../json.ts";
import { ageOf } from "./age.ts";

export interface Column {
  readonly name: string;
  readonly type: "string" | "boolean" | "integer" | "date";
  readonly description: string;
  /** 1: only with `-o wide`. */
  readonly priority: 0 | 1;
  readonly format?: "name";
  /** Nothing: an empty cell. */
  readonly cell: (object: KubeObject, now: number) => unknown;
}

const name: Column = {
  name: "Name",
  type: "string",
  format: "name",
  priority: 0,
  description: "Name of the object.",
  cell: ({ metadata }) => metadata.name,
};
const age: Column = {
  name: "Age",
  type: "date",
  priority: 0,
  description: "Time since the object was created.",
  cell: ({ metadata }, now) => ageOf(metadata.creationTimestamp, now),
};

const column = (
  title: string,
  description: string,
  cell: Column["cell"],
  more: Partial<Pick<Column, "type" | "priority">> = {},
): Column => ({ name: title, type: "string", priority: 0, description, cell, ...more });
const wide = { priority: 1 } as const;

/** A column that shows one field. */
const field = (
  title: string,
  path: string,
  description: string,
  more: Partial<Pick<Column, "type" | "priority">> = {},
): Column => column(title, description, (object) => at(object, ...path.split(".")), more);

const image: readonly Column[] = [
  name,
  field("Phase", "status.phase", "State of the image."),
  field("CDROM", "status.cdrom", "The image is to be mounted as a CD-ROM.", { type: "boolean" }),
  field("Progress", "status.progress", "Share of the source that was read."),
  field("StoredSize", "status.size.stored", "Space that the image takes in the store.", wide),
  field("UnpackedSize", "status.size.unpacked", "Size of the disk.", wide),
  field("Registry URL", "status.target.registryURL", "The container image, for pulling.", wide),
];

const lastSeen = (object: KubeObject): unknown =>
  at(object, "lastTimestamp") ??
  at(object, "eventTime") ??
  at(object, "firstTimestamp") ??
  object.metadata.creationTimestamp;
const involved = (object: KubeObject): Fields => fieldsOf(object, "involvedObject");

const event: readonly Column[] = [
  column("Last Seen", "Time since it happened last.", (object, now) => ageOf(lastSeen(object), now)),
  field("Type", "type", "Normal or Warning."),
  field("Reason", "reason", "What happened, in one word."),
  column(
    "Object",
    "What it happened to.",
    (object) => `${textOf(involved(object)["kind"]).toLowerCase()}/${textOf(involved(object)["name"])}`,
  ),
  column("Subobject", "Which part of it.", (object) => textOf(involved(object)["fieldPath"]), wide),
  column(
    "Source",
    "Who reports it.",
    (object) => textOf(at(object, "source", "component")) || textOf(at(object, "reportingComponent")),
    wide,
  ),
  column("Message", "What happened.", (object) => textOf(at(object, "message")).trim()),
  column(
    "First Seen",
    "Time since it happened first.",
    (object, now) => ageOf(at(object, "firstTimestamp") ?? lastSeen(object), now),
    wide,
  ),
  column("Count", "How often it happened.", (object) => Number(at(object, "count") ?? 1), {
    type: "integer",
    priority: 1,
  }),
  { ...name, priority: 1 },
];

export const columns: Readonly<Record<ResourceName, readonly Column[]>> = {
  clustervirtualimages: [...image, age],
  virtualimages: [
    ...image,
    field("TargetPVC", "status.target.persistentVolumeClaimName", "Volume that the image is kept on.", wide),
    age,
  ],
  namespaces: [
    name,
    column("Status", "State of the namespace.", (object) => at(object, "status", "phase") ?? "Active"),
    age,
  ],
  secrets: [
    name,
    field("Type", "type", "Type of the Secret."),
    column("Data", "How many entries it has.", (object) => Object.keys(fieldsOf(object, "data")).length, {
      type: "integer",
    }),
    age,
  ],
  events: event,
};
