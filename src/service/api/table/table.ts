/** Answers in the form that the client asked for: whole objects, their metadata alone, or the rows of a table. */
import { asObject, type ApiRequest } from "../context.ts";
import { at, fieldsOf, isFields, without, type Fields } from "../json.ts";
import { lastApplied } from "../metadata.ts";
import type { Wanted } from "../negotiate.ts";
import { parameter, readOptions, type ReadOptions } from "../request-options.ts";
import { columns } from "./columns.ts";

/** The part of an object that stands for it in a table and in metadata-only answers. */
export function partialMetadata(object: Fields, { metaVersion }: Pick<Wanted, "metaVersion">): Fields {
  const metadata = fieldsOf(object, "metadata");
  // What `kubectl apply` notes of a Secret is the secret itself.
  const told =
    object["kind"] === "Secret"
      ? { ...metadata, annotations: without(fieldsOf(metadata, "annotations"), lastApplied) }
      : metadata;
  return { kind: "PartialObjectMetadata", apiVersion: `meta.k8s.io/${metaVersion}`, metadata: told };
}

/** `object` (one, or a list) in the form that `request` wants. Statuses stay as they are. */
export function shaped(request: ApiRequest, object: Fields): Fields {
  const { wanted, place, query } = request;
  if (wanted.form === "Object" || object["kind"] === "Status") return object;
  const items = object["kind"] === `${place.type.kind}List` ? (object["items"] as Fields[]) : undefined;
  if (wanted.form !== "Table") {
    if (items === undefined) return partialMetadata(object, wanted);
    return {
      kind: "PartialObjectMetadataList",
      apiVersion: `meta.k8s.io/${wanted.metaVersion}`,
      metadata: object["metadata"],
      items: items.map((item) => partialMetadata(item, wanted)),
    };
  }
  const metadata =
    items === undefined
      ? { resourceVersion: at(object, "metadata", "resourceVersion") }
      : (object["metadata"] as Fields);
  const { includeObject } = readOptions({ includeObject: parameter(query, "includeObject") });
  return table(request, items ?? [object], metadata, includeObject, true);
}

/** A meta.k8s.io Table. */
export function table(
  { wanted, place: { type } }: ApiRequest,
  objects: readonly Fields[],
  metadata: Fields,
  includeObject: ReadOptions["includeObject"],
  withColumns: boolean,
): Fields {
  const definitions = columns[type.resource];
  const now = Date.now();
  return {
    kind: "Table",
    apiVersion: `meta.k8s.io/${wanted.metaVersion}`,
    metadata,
    columnDefinitions: withColumns
      ? definitions.map(({ name, type: cellType, format = "", description, priority }) => ({
          name,
          type: cellType,
          format,
          description,
          priority,
        }))
      : [],
    rows: objects.map((object) => ({
      cells: definitions.map(({ cell }) => cell(asObject(object), now) ?? null),
      ...rowObject(object, wanted, includeObject),
    })),
  };
}

function rowObject(object: Fields, wanted: Wanted, includeObject: ReadOptions["includeObject"]): Fields {
  if (includeObject === "None") return { object: null };
  return { object: includeObject === "Object" && isFields(object) ? object : partialMetadata(object, wanted) };
}
