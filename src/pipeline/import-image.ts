import type { Destination } from "../destination/destination.ts";
import type { LayerCompression } from "../layer/image-config.ts";
import type { Source } from "../source/source.ts";

export interface ImportOptions {
  /** `algo:hex`, already validated. */
  readonly checksums: readonly { readonly algorithm: string; readonly expected: string }[];
  readonly compression: LayerCompression;
  /** What /disk/disk.img holds. */
  readonly format: "raw" | "source";
  /** Declared source format. */
  readonly sourceFormat?: string;
  readonly allowNested: boolean;
  readonly manifestKind: "oci" | "docker";
  readonly limits: ImportLimits;
  readonly scratchDirectory: string;
  /** Seconds since 1970 for the image's creation time; without it the image carries none of its own. */
  readonly sourceDateEpoch?: number;
  /** Tag an image that the destination holds of the same source, known by its checksum, and read nothing. */
  readonly reuse?: boolean;
  /** Told in one line what a person reading the log should know. */
  readonly onNotice?: (text: string) => void;
}

export interface ImportLimits {
  /** Bytes. */
  readonly maxVirtualSize: number;
  /** Bytes in all scratch files. */
  readonly maxScratch: number;
  /** Bytes of decoder memory. */
  readonly maxDecoderMemory: number;
}

/** What --json prints; sizes in bytes, speed in bytes per second of source. */
export interface ImportReport {
  readonly image: string;
  readonly manifestDigest: string;
  readonly layerDigest: string;
  readonly diffId: string;
  readonly sourceFormat: string;
  readonly format: string;
  readonly sourceSize: number;
  readonly virtualSize: number;
  readonly storedSize: number;
  readonly durationSeconds: number;
  readonly averageSpeed: number;
  readonly checksums: Readonly<Record<string, string>>;
  readonly scratchPeak: number;
  readonly sizeFrom: string;
  /** False when the destination had the very same layer already. */
  readonly layerPushed: boolean;
  /** How often the registry lost the layer and was given it again, from scratch or from the source. */
  readonly restarts: number;
  readonly warnings: readonly string[];
}

/** Counters that move only when bytes do. */
export interface ImportProgress {
  /** Source bytes that were read, those ahead of their turn included; never falling. */
  readonly sourceBytes: number;
  /** Source bytes in all, when known. */
  readonly sourceSize?: number;
  /** Layer bytes that the destination acknowledged. */
  readonly layerBytes: number;
  /** CPU seconds of the core's threads, where it works. */
  readonly cpuSeconds?: number;
}

/** Cheap to read at any time, from any timer. */
export interface RunningImport {
  progress(): ImportProgress;
  readonly done: Promise<ImportReport>;
}

/**
 * Runs one import: source -> verify -> unpack -> disk image -> layer -> registry. The layer is committed only after
 * every check of the source passed, the tag is written last; after a failure nothing of it remains.
 */
export type ImportImage = (
  source: Source,
  destination: Destination,
  options: ImportOptions,
  signal: AbortSignal,
) => RunningImport;
