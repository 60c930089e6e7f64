/** What the store looks at in an object, whatever its kind. */
import type { KubeObject, ObjectKey, ResourceName } from "../model/object.ts";

export function keyOf(
  resource: ResourceName,
  { namespace, name }: { readonly namespace?: string; readonly name: string },
): ObjectKey {
  return { resource, namespace: namespace ?? "", name };
}

export function isHeld({ metadata }: KubeObject): boolean {
  return (metadata.finalizers ?? []).length > 0;
}

export function isImage(resource: ResourceName): boolean {
  return resource === "clustervirtualimages" || resource === "virtualimages";
}

/** Only the server marks an object as being deleted. */
export function withoutDeletion<M extends { readonly deletionTimestamp?: string }>(metadata: M): M {
  const kept: { deletionTimestamp?: string } = { ...metadata };
  delete kept.deletionTimestamp;
  return kept as M;
}

export function specOf(object: KubeObject): unknown {
  return JSON.parse(JSON.stringify((object as { spec?: unknown }).spec ?? null)) as unknown;
}

/**
 * What clients write at length. An update that leaves it alone is the service's own work, such as that of a deletion.
 */
export function contentOf(object: KubeObject): unknown {
  const { labels = {}, annotations = {} } = object.metadata;
  const plain = JSON.parse(JSON.stringify({ ...object, labels, annotations })) as Record<string, unknown>;
  delete plain["metadata"];
  delete plain["status"];
  return plain;
}

export function describe({ resource, namespace, name }: ObjectKey): string {
  return `${resource} "${namespace === "" ? "" : `${namespace}/`}${name}"`;
}
