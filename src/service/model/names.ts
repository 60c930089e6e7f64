/** Names of stored images (contract, section 6.1). */
import type { ImageObject } from "./image.ts";

/** Repository and tag as contract 6.1 has them: `cvi/NAME`, `vi/NAMESPACE/NAME`; the tag is the resource's uid. */
export interface ImageName {
  readonly repository: string;
  readonly tag: string;
}

/** A full name has at most 255 characters, host included; the platform's own host is what is reserved for. */
const longestRepository = 255 - "dvcr.d8-virtualization.svc/".length;

/** FNV-1a, 64 bits, as 16 hex digits. */
function fnv1a64(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text, "utf8")) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, "0");
}

/** `cvi/NAME` or `vi/NAMESPACE/NAME`; a name that is too long is cut and told apart by its hash. */
export function repositoryOf({ kind, metadata }: Pick<ImageObject, "kind" | "metadata">): string {
  const prefix = kind === "ClusterVirtualImage" ? "cvi/" : `vi/${metadata.namespace ?? ""}/`;
  const room = longestRepository - prefix.length;
  if (metadata.name.length <= room) return prefix + metadata.name;
  const hash = fnv1a64(metadata.name);
  return `${prefix}${metadata.name.slice(0, room - hash.length - 1).replace(/[-.]+$/, "")}-${hash}`;
}

/**
 * Where the image of a resource is stored: the tag is the resource's uid, so that a new one of the same name is
 * another.
 */
export function imageNameOf(image: Pick<ImageObject, "kind" | "metadata">): ImageName {
  return { repository: repositoryOf(image), tag: image.metadata.uid };
}

/** `cvi/NAME` or `vi/NAMESPACE/NAME` in full, for logs and messages. */
export function labelOf({ kind, metadata }: Pick<ImageObject, "kind" | "metadata">): string {
  return kind === "ClusterVirtualImage" ? `cvi/${metadata.name}` : `vi/${metadata.namespace ?? ""}/${metadata.name}`;
}
