/** Where the image goes. `docker://` and `oci:` are the two kinds; both only ever hold complete, verified images. */
import type { ImageManifest, ManifestKind } from "../layer/image-config.ts";

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
   * Checks access and opens an upload for the layer. What may get lost on the way is kept in `insurance`, if the destination
   * is of the kind that loses something; without it the caller makes the layer again from its first byte after an error
   * of which isUploadLost() is true. What the destination cannot take for a while waits in `backlog`.
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

export interface LayerUpload {
  /**
   * Sends the next bytes. Resolves when `chunk` may be reused by the caller, that is, when the destination is sure to hold
   * it, has made its own copy, or was given no insurance and can do without. Calls may overlap, in order; a rejection is final for the upload.
   */
  write(chunk: Uint8Array): Promise<void>;
  /** Nothing follows what was written: what is left can be sent off. Optional before commit(). */
  end?(): void;
  /** Makes the blob permanent under `digest` ("sha256:…"), `size` bytes. Only called after every check passed. */
  commit(digest: string, size: number): Promise<void>;
  /** Drops everything sent so far, best effort, never throws. */
  abort(): Promise<void>;
  /** How often the upload was begun again from what was kept. */
  readonly restarts?: number;
}

/** A copy of a layer, from its first byte on, for a destination that may lose what it has acknowledged. */
export interface LayerInsurance {
  /** Bytes kept. */
  readonly size: number;
  /** Adds to the copy. False: there is no room, and nothing is added any more; what was kept stays. */
  append(chunks: readonly Uint8Array[]): Promise<boolean>;
  /** @throws DvcrError E_SCRATCH_IO. */
  read(offset: number, length: number): AsyncIterable<Uint8Array>;
  /** What was kept is not needed any more. */
  close(): Promise<void>;
}

/** Room for layer bytes that the destination cannot take for now: first in, first out. */
export interface LayerBacklog {
  /** Bytes that wait in it. */
  readonly size: number;
  /** Adds at the end. False: there is no room, and what waits stays as it is. */
  append(chunks: readonly Uint8Array[]): Promise<boolean>;
  /** Takes up to `most` bytes from the front. @throws DvcrError E_SCRATCH_IO. */
  take(most: number): Promise<Uint8Array[]>;
}

/** True when a destination lost the layer halfway and it must be made again from the source's first byte. */
export function isUploadLost(error: unknown): boolean {
  return error instanceof Error && "sessionLost" in error && error.sessionLost === true;
}
