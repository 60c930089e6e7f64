/**
 * From a reference to the layers of one image: manifests of OCI and docker (v2 schema 2), indexes resolved by platform.
 */
import { DvcrError } from "../../errors/dvcr-error.ts";
import { mediaTypes } from "../../layer/image-config.ts";
import type { BlobDescriptor } from "../../registry/blobs.ts";
import {
  blobOf,
  descriptors,
  parseManifest,
  type DescriptorJson,
  type ManifestJson,
  type PlatformJson,
} from "../../registry/manifest-json.ts";
import type { ImageStore } from "./image-store.ts";

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

export interface ImageLayer extends BlobDescriptor {
  readonly mediaType: string;
  /** An artifact's file name for it. */
  readonly title?: string;
}

export interface ResolvedImage {
  readonly manifestDigest: string;
  /** A container image's. */
  readonly config?: BlobDescriptor;
  /** Lowest first. */
  readonly layers: readonly ImageLayer[];
  /** False for an artifact, whose layers may be files of any kind. */
  readonly isContainerImage: boolean;
}

/** An index may list another; more than this many around each other are a mistake. */
const maxIndexDepth = 3;
const defaultPlatform: Platform = { os: "linux", architecture: "amd64" };

/** `os/architecture[/variant]`. @throws DvcrError E_USAGE. */
export function parsePlatform(text: string): Platform {
  const match = /^([a-z0-9_]+)\/([a-z0-9_]+)(?:\/([a-z0-9_]+))?$/.exec(text);
  if (match === null)
    throw new DvcrError("E_USAGE", `the platform "${text}" is not of the form OS/ARCHITECTURE[/VARIANT]`);
  const [, os = "", architecture = "", variant] = match;
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

/**
 * The image that a tag or digest of a store names, by default for linux/amd64. `name` is for messages.
 *
 * @throws RegistryError; DvcrError E_SOURCE_NOT_FOUND, E_SOURCE_HTTP for a malformed manifest, E_UNSUPPORTED_FORMAT.
 */
export async function resolveImage(
  store: ImageStore,
  { name, wanted: first }: { readonly name: string; readonly wanted: string },
  platform: Platform = defaultPlatform,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  let wanted = first;
  for (let depth = 0; depth <= maxIndexDepth; depth++) {
    const stored = await store.manifest(wanted, signal);
    if (stored === undefined)
      throw new DvcrError(
        "E_SOURCE_NOT_FOUND",
        `${store.where} has no image ${name}${depth === 0 ? "" : ` (${wanted} of its index)`}`,
      );
    const manifest = parseManifest(stored.bytes, name);
    const entries = descriptors(manifest.manifests);
    const layers = descriptors(manifest.layers);
    if (entries !== undefined) wanted = choosePlatform(entries, platform, name);
    else if (layers !== undefined) return imageOf(manifest, layers, name, stored.digest);
    else
      throw new DvcrError("E_UNSUPPORTED_FORMAT", `${name} is neither an image nor an index, but ${stored.mediaType}`);
  }
  throw new DvcrError("E_SOURCE_HTTP", `${name}: more than ${String(maxIndexDepth)} indexes around each other`);
}

/** The first entry for the platform; one without a platform at all counts where it is the only one. */
function choosePlatform(manifests: readonly DescriptorJson[], platform: Platform, name: string): string {
  const fits = ({ platform: offered }: DescriptorJson) =>
    offered?.os === platform.os &&
    offered.architecture === platform.architecture &&
    (platform.variant === undefined || offered.variant === platform.variant);
  const found = manifests.find(fits) ?? (manifests.length === 1 && !manifests[0]!.platform ? manifests[0] : undefined);
  if (found === undefined) {
    const offered = manifests
      .map((entry) => platformText(entry.platform ?? {}))
      .filter((text) => text !== "unknown/unknown");
    throw new DvcrError(
      "E_SOURCE_NOT_FOUND",
      `${name} has no image for ${platformText(platform)}, only for: ${offered.slice(0, 10).join(", ") || "none"}`,
    );
  }
  return blobOf(found, name).digest;
}

function platformText({ os = "unknown", architecture = "unknown", variant }: PlatformJson): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].map(String).join("/");
}

function imageOf(
  manifest: ManifestJson,
  layers: readonly DescriptorJson[],
  name: string,
  manifestDigest: string,
): ResolvedImage {
  const configs: readonly unknown[] = [mediaTypes.ociConfig, mediaTypes.dockerConfig];
  const isContainerImage = manifest.artifactType === undefined && configs.includes(manifest.config?.mediaType);
  return {
    manifestDigest,
    ...(isContainerImage ? { config: blobOf(manifest.config!, name) } : {}),
    layers: layers.map((layer) => layerOf(layer, name)),
    isContainerImage,
  };
}

function layerOf(layer: DescriptorJson, name: string): ImageLayer {
  const blob = blobOf(layer, name);
  const mediaType = String(layer.mediaType);
  if (mediaType.endsWith("+encrypted"))
    throw new DvcrError("E_ENCRYPTED", `layer ${blob.digest} of ${name} is encrypted`);
  const title = layer.annotations?.["org.opencontainers.image.title"];
  return { ...blob, mediaType, ...(typeof title === "string" ? { title } : {}) };
}
