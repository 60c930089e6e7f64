import type { Destination } from "../../destination/destination.ts";
import type { DvcrError } from "../../errors/dvcr-error.ts";
import type { ImageName } from "../model/names.ts";

/** Where images are kept: the embedded store, or an external registry (DVCR). */
export interface ImagePlace {
  /** `HOST/cvi/NAME:UID`, what status.target.registryURL shows and others pull. */
  urlOf(name: ImageName): string;
  /** `onRetry` is told of what the place failed with, before it is tried again. */
  destination(name: ImageName, onRetry?: (error: DvcrError) => void): Destination;
  /**
   * Puts the stored image `from` at `to` too; nothing passes through us that need not. Throws E_SOURCE_NOT_FOUND where
   * `from` is gone.
   */
  copy(from: ImageName, to: ImageName, signal: AbortSignal): Promise<void>;
  /** Removes the image and, where the place allows, what only it used. No error when it is not there. */
  remove(name: ImageName, signal: AbortSignal): Promise<void>;
  /** False: the image is lost. Throws when that cannot be told now. */
  has(name: ImageName, signal: AbortSignal): Promise<boolean>;
  /** Every image of ours that is there, whether or not a resource stands for it. */
  list(signal: AbortSignal): AsyncIterable<ImageName>;
  /**
   * Bytes; Infinity where the place does not tell. `capacity` is what it may hold: the limit that was set, or what the
   * disk has for it.
   */
  usage(): Promise<PlaceUsage>;
  close(): Promise<void>;
}

export interface PlaceUsage {
  readonly capacity: number;
  readonly used: number;
  readonly free: number;
}
