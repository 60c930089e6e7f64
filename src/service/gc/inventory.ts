/** What the store for images holds against what the resources stand for. */
import type { ImageKind, ImageObject } from "../model/image.ts";
import { imageNameOf, type ImageName } from "../model/names.ts";
import type { ImagePlace, PlaceUsage } from "../images/image-place.ts";
import type { ResourceStore } from "../store/store.ts";

/** Counts by kind, as the platform's tool has them; disks are never ours. */
export interface KindCounts {
  readonly cvi: number;
  readonly vi: number;
  readonly vd: number;
}

/** An image without a resource. */
export interface StaleImage {
  readonly kind: ImageKind;
  /** "" for images of the cluster. */
  readonly namespace: string;
  readonly name: string;
  readonly image: ImageName;
}

export interface GcReport {
  readonly images: KindCounts;
  readonly resources: KindCounts;
  readonly usage: PlaceUsage;
  /** Their resources were deleted. In order of their repositories. */
  readonly stale: readonly StaleImage[];
  /** No resource, and none that the database ever had: it may be an older one, or a new one. In the same order. */
  readonly unknown: readonly StaleImage[];
  /** Resources that are Ready with an image that is not there. */
  readonly missing: number;
}

/**
 * Compares both. The images are listed before the resources: one that is stored meanwhile then has its resource in the
 * list, from before its first byte. That a resource is not there proves nothing; that it was deleted does.
 */
export async function takeInventory(place: ImagePlace, store: ResourceStore, signal: AbortSignal): Promise<GcReport> {
  const images: StaleImage[] = [];
  for await (const name of place.list(signal)) {
    const known = describeImage(name);
    if (known !== undefined) images.push(known);
  }
  const cvi = (await store.list<ImageObject>("clustervirtualimages")).items;
  const vi = (await store.list<ImageObject>("virtualimages")).items;
  const deleted = await store.deletedImages();
  const wanted = new Set([...cvi, ...vi].map((object) => keyOf(imageNameOf(object))));
  const found = new Set(images.map(({ image }) => keyOf(image)));
  const ready = [...cvi, ...vi].filter(({ status }) => status?.phase === "Ready");
  const idle = images
    .filter(({ image }) => !wanted.has(keyOf(image)))
    .sort((a, b) => (keyOf(a.image) < keyOf(b.image) ? -1 : 1));
  return {
    images: count(images.map(({ kind }) => kind)),
    resources: count([...cvi, ...vi].map(({ kind }) => kind)),
    usage: await place.usage(),
    stale: idle.filter(({ image }) => deleted.has(image.tag)),
    unknown: idle.filter(({ image }) => !deleted.has(image.tag)),
    missing: ready.filter((object) => !found.has(keyOf(imageNameOf(object)))).length,
  };
}

/** By its repository (contract, section 6.1); nothing for what is not named as ours are. */
export function describeImage(image: ImageName): StaleImage | undefined {
  const [kind, first = "", second, more] = image.repository.split("/");
  if (kind === "cvi" && first !== "" && second === undefined)
    return { kind: "ClusterVirtualImage", namespace: "", name: first, image };
  if (kind === "vi" && second !== undefined && more === undefined)
    return { kind: "VirtualImage", namespace: first, name: second, image };
  return undefined;
}

function keyOf({ repository, tag }: ImageName): string {
  return `${repository}:${tag}`;
}

function count(kinds: readonly ImageKind[]): KindCounts {
  const vi = kinds.filter((kind) => kind === "VirtualImage").length;
  return { cvi: kinds.length - vi, vi, vd: 0 };
}
