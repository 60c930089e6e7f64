import { DvcrError } from "../errors/dvcr-error.ts";
import type { BlobDescriptor } from "./blobs.ts";
import { blobOf, descriptors, parseManifest } from "./manifest-json.ts";
import type { StoredManifest } from "./manifests.ts";

export interface ManifestContents {
  /** Digests of the manifests in an index. */
  readonly manifests: readonly string[];
  /** Layers and config. */
  readonly blobs: readonly BlobDescriptor[];
}

/** What has to be there before `manifest` can be put. @throws DvcrError E_SOURCE_HTTP, E_UNSUPPORTED_FORMAT. */
export function referencedBy(manifest: StoredManifest, name: string): ManifestContents {
  const json = parseManifest(manifest.bytes, name);
  const manifests = descriptors(json.manifests);
  if (manifests !== undefined) return { manifests: manifests.map((entry) => blobOf(entry, name).digest), blobs: [] };
  const layers = descriptors(json.layers);
  if (layers === undefined)
    throw new DvcrError("E_UNSUPPORTED_FORMAT", `${name} is neither an image nor an index, but ${manifest.mediaType}`);
  // Layers with addresses of their own are not the registry's to hold.
  const own = layers.filter(({ urls }) => !Array.isArray(urls) || urls.length === 0);
  return { manifests: [], blobs: [...own, ...(json.config ? [json.config] : [])].map((entry) => blobOf(entry, name)) };
}
