/** `docker://HOST/REPO[:TAG|@DIGEST]`: the disk in a container image or artifact. */
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { ContainerLayer, LayerListing } from "../../layer/container-layer.ts";
import { parseManifest } from "../../registry/manifest-json.ts";
import { openRegistry, type RegistryAccess } from "../../registry/open.ts";
import { formatReference, manifestName, parseDockerReference } from "../../registry/reference.ts";
import type { OpenSource, Source } from "../source.ts";
import { asSource, sourceError } from "./errors.ts";
import { layoutStore, registryStore, type ImageStore } from "./image-store.ts";
import { resolveImage, type ImageLayer, type Platform, type ResolvedImage } from "./image.ts";

export type ListLayer = (layer: OpenSource) => Promise<LayerListing>;

export interface StoredImageOptions {
  /** Which image of an index. Default linux/amd64. */
  readonly platform?: Platform;
  /** Looks into a layer, as far as its first file under disk/. Called where an image has several. */
  readonly listLayer: ListLayer;
}

export interface RegistrySourceOptions extends RegistryAccess, StoredImageOptions {}

/**
 * The disk file in an image: the first regular file under disk/ of the topmost layer that has one, where no layer above
 * hides it, as an overlay of the layers would show it. One layer is streamed as it is; several are looked through from
 * the top, each as far as its first file under disk/. In an artifact it may be the layer itself.
 *
 * @throws DvcrError E_USAGE for what is no such reference.
 */
export function registrySource(text: string, options: RegistrySourceOptions): Source {
  const reference = parseDockerReference(text, "the source");
  return {
    description: `docker://${formatReference(reference)}`,
    replayable: false,
    refetchable: true,
    open: (signal) =>
      asSource(() => {
        const store = registryStore(openRegistry(reference, options), reference.repository);
        return open(store, { name: formatReference(reference), wanted: manifestName(reference) }, options, signal);
      }),
  };
}

/** `oci:DIR[:TAG]`: as registrySource(), out of an OCI image layout. Without a tag it has to be the only image. */
export function layoutSource(directory: string, tag: string, options: StoredImageOptions): Source {
  const name = `oci:${directory}${tag === "" ? "" : `:${tag}`}`;
  return {
    description: name,
    replayable: false,
    refetchable: true,
    open: (signal) => asSource(() => open(layoutStore(directory), { name, wanted: tag }, options, signal)),
  };
}

async function open(
  store: ImageStore,
  named: { readonly name: string; readonly wanted: string },
  options: StoredImageOptions,
  signal: AbortSignal,
): Promise<OpenSource> {
  try {
    const image = await resolveImage(store, named, options.platform, signal);
    const blobs = new LayerBlobs(store, signal);
    const { layer, containerLayer } = await findDisk(image, blobs, named.name, options.listLayer);
    const blob = blobs.open(layer, containerLayer);
    return {
      ...blob,
      storedImage: {
        manifestDigest: image.manifestDigest,
        diffId: () => asSource(() => diffIdOf(store, image, layer, signal)),
      },
      close: async () => {
        await blob.close();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function diffIdOf(
  store: ImageStore,
  { config, layers }: ResolvedImage,
  layer: ImageLayer,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (config === undefined) return undefined;
  const { rootfs } = parseManifest(await store.document(config, signal), config.digest) as {
    readonly rootfs?: { readonly diff_ids?: unknown };
  };
  const ids: unknown = rootfs?.diff_ids;
  const id: unknown = Array.isArray(ids) ? ids[layers.indexOf(layer)] : undefined;
  return typeof id === "string" ? id : undefined;
}

/** The layers of one image as sources. */
class LayerBlobs {
  readonly #store: ImageStore;
  readonly #signal: AbortSignal;

  constructor(store: ImageStore, signal: AbortSignal) {
    this.#store = store;
    this.#signal = signal;
  }

  open(layer: ImageLayer, containerLayer: ContainerLayer): OpenSource {
    const closed = new AbortController();
    const signal = AbortSignal.any([this.#signal, closed.signal]);
    return {
      size: layer.size,
      containerLayer,
      chunks: withSourceErrors(this.#store.layer(layer, signal)),
      close: () => {
        closed.abort(new DvcrError("E_CANCELLED", "the source was closed"));
        return Promise.resolve();
      },
    };
  }
}

async function* withSourceErrors(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    throw sourceError(error);
  }
}

interface FoundLayer {
  readonly layer: ImageLayer;
  readonly containerLayer: ContainerLayer;
}

async function findDisk(
  image: ResolvedImage,
  blobs: LayerBlobs,
  name: string,
  listLayer: ListLayer,
): Promise<FoundLayer> {
  const candidates = image.layers
    .filter((layer) => layer.size > 0)
    .map((layer) => ({ layer, containerLayer: asContainerLayer(image, layer, []) }));
  const [only, ...more] = candidates;
  if (only === undefined) throw new DvcrError("E_NO_DISK", `${name} has no layers with anything in them`);
  if (more.length === 0) return only;
  return image.isContainerImage
    ? await topmostDisk(image, blobs, name, listLayer)
    : await onlyDisk(candidates, blobs, name, listLayer);
}

function asContainerLayer(image: ResolvedImage, layer: ImageLayer, hidden: readonly string[]): ContainerLayer {
  // Tools that push files give them a layer's media type, so in an artifact only the content tells the two apart.
  const content = image.isContainerImage ? "tar" : /\btar\b/.test(layer.mediaType) ? "tar-or-file" : "file";
  return { digest: layer.digest, content, hidden, isCompressed: /(?:\+|\.)(?:gzip|zstd)$/.test(layer.mediaType) };
}

async function topmostDisk(
  image: ResolvedImage,
  blobs: LayerBlobs,
  name: string,
  listLayer: ListLayer,
): Promise<FoundLayer> {
  const hidden: string[] = [];
  const seen: string[] = [];
  for (const layer of image.layers.toReversed()) {
    if (layer.size === 0) continue;
    const containerLayer = asContainerLayer(image, layer, [...hidden]);
    const listing = await list(blobs, { layer, containerLayer }, listLayer);
    if (listing.disk !== "") return { layer, containerLayer };
    hidden.push(...listing.hides);
    seen.push(...listing.seen);
  }
  throw new DvcrError(
    "E_NO_DISK",
    `${name} has no file under disk/ in its ${String(image.layers.length)} layers, only: ` +
      (seen.slice(0, 10).join(", ") || "nothing"),
  );
}

/** An artifact's layers lie beside each other: exactly one of them may be a disk. */
async function onlyDisk(
  candidates: readonly FoundLayer[],
  blobs: LayerBlobs,
  name: string,
  listLayer: ListLayer,
): Promise<FoundLayer> {
  const disks: FoundLayer[] = [];
  for (const candidate of candidates) {
    if ((await list(blobs, candidate, listLayer)).disk !== "") disks.push(candidate);
  }
  const titles = (found: readonly FoundLayer[]) =>
    found
      .slice(0, 10)
      .map(({ layer }) => layer.title ?? layer.digest)
      .join(", ");
  const [disk, ...more] = disks;
  if (disk === undefined) throw new DvcrError("E_NO_DISK", `${name} holds no disk, only: ${titles(candidates)}`);
  if (more.length > 0)
    throw new DvcrError("E_SEVERAL_DISKS", `${name} holds ${String(disks.length)} disks: ${titles(disks)}`);
  return disk;
}

async function list(blobs: LayerBlobs, { layer, containerLayer }: FoundLayer, listLayer: ListLayer) {
  const blob = blobs.open(layer, containerLayer);
  try {
    return await listLayer(blob);
  } finally {
    await blob.close();
  }
}
