/** Where the image goes. `docker://` and `oci:` are the two kinds; both only ever hold complete, verified images. */
import type { ImageManifest, ManifestKind } from "../layer/image-config.ts";
import type { LayerBacklog, LayerInsurance, LayerUpload } from "../layer/layer-upload.ts";

export interface Destination {
  /** As the user would write it, for reports: `docker://host/repo:tag` or `oci:dir:tag`. */
  readonly reference: string;
  /** Chunks of the layer that are worth having in hand for it; missing: as many as large requests need. */
  readonly chunksAhead?: number | undefined;
  /** The manifest that stands at the tag now, with its config, or nothing. Never throws for a missing one. */
  current(signal: AbortSignal): Promise<CurrentImage | undefined>;
  /** Other images of the same place, a bounded number of them. Missing where there is no way to list them. */
  others?(signal: AbortSignal): AsyncIterable<CurrentImage>;
  /** Puts an image that the destination holds already at the tag too. */
  tagImage?(image: CurrentImage, signal: AbortSignal): Promise<void>;
  /**
   * Checks access and opens an upload for the layer. What may get lost on the way is kept in `insurance`, if the
   * destination is of the kind that loses something; without it the caller makes the layer again from its first byte
   * after an error of which isUploadLost() is true. What the destination cannot take for a while waits in `backlog`.
   */
  beginLayer(signal: AbortSignal, insurance?: LayerInsurance, backlog?: LayerBacklog): Promise<LayerUpload>;
  /** Writes config, manifest and, last, the tag. The layer has been committed before. */
  commitImage(image: ImageManifest, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface CurrentImage {
  readonly manifestDigest: string;
  readonly kind: ManifestKind;
  /** "sha256:…" of the unpacked layers. */
  readonly diffIds: readonly string[];
  readonly layers: readonly { readonly digest: string; readonly size: number; readonly mediaType: string }[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** True when a destination lost the layer halfway and it must be made again from the source's first byte. */
export function isUploadLost(error: unknown): boolean {
  return error instanceof Error && "sessionLost" in error && error.sessionLost === true;
}
