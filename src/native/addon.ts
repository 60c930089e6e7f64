import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

import type { ContainerLayer, LayerListing } from "../layer/container-layer.ts";
import type { LayerCompression } from "../layer/image-config.ts";

/** A fact of a format's header: objects for what `qemu-img info` lists so, extents and bitmaps. */
export type SpecificValue =
  boolean | number | string | readonly string[] | readonly Readonly<Record<string, SpecificValue>>[];

/** What an image is, from its headers. Sizes in bytes. */
export interface NativeImage {
  readonly format: string;
  readonly virtualSize?: number;
  readonly clusterSize: number;
  readonly specific: Readonly<Record<string, SpecificValue>>;
  readonly warnings: readonly string[];
  /** Outermost first. */
  readonly compressions: readonly string[];
}

/** What import and export have in common. Sizes in bytes. */
interface NativeSessionResult {
  readonly image: NativeImage;
  readonly storedFormat: string;
  readonly sourceSize: number;
  readonly scratchPeak: number;
  readonly checksums: Readonly<Record<string, string>>;
}

export interface NativeResult extends NativeSessionResult {
  readonly diffId: string;
  readonly layerDigest: string;
  readonly layerSize: number;
  readonly diskSize: number;
  readonly sizeFrom: string;
}

export interface NativeDiskResult extends NativeSessionResult {
  /** Bytes of the disk's content. */
  readonly diskSize: number;
  readonly bytesWritten: number;
  /** Of the disk's content. */
  readonly diskChecksums: Readonly<Record<string, string>>;
  readonly outputWarnings: readonly string[];
}

export type NativeEvent =
  | { readonly type: "released"; readonly batch: number }
  | { readonly type: "output"; readonly index: number; readonly length: number }
  | { readonly type: "begin"; readonly size: number; readonly sizeFrom: string; readonly attempt: number }
  | { readonly type: "range"; readonly offset: number; readonly length: number }
  | { readonly type: "image"; readonly image: NativeImage }
  | ({ readonly type: "layer" } & LayerListing)
  | { readonly type: "exported"; readonly result: NativeDiskResult }
  | { readonly type: "inspected"; readonly image: NativeImage }
  | { readonly type: "finished"; readonly result: NativeResult }
  | { readonly type: "failed"; readonly code: string; readonly message: string; readonly actualSize?: number };

/** What import and export have in common. */
interface NativeConversion {
  readonly checksums: readonly { readonly algorithm: string; readonly expected: string }[];
  /** Worker threads; never changes a byte of the result. */
  readonly threads: number;
  /** Exact size of a headerless disk, from an earlier pass over the same source. */
  readonly declaredSize?: number;
  readonly replayable: boolean;
}

/** Makes a container layer; ends with "finished". */
export interface NativeImport extends NativeConversion {
  readonly name: "import";
  readonly codec: LayerCompression;
  readonly allowNested: boolean;
  readonly keepSourceFormat: boolean;
  /** What it shares with the other imports of the process. */
  readonly memory: NativeMemory;
  /** Where layer bytes are written; each is the core's until its "output" event and again after releaseOutput(). */
  readonly buffers: readonly Uint8Array[];
}

/** Writes the disk to a descriptor; ends with "exported". */
export interface NativeExport extends NativeConversion {
  readonly name: "export";
  readonly kind: "file" | "device" | "pipe" | "qcow2";
  /** Open for reading and writing, a pipe's for writing; stays the caller's. */
  readonly outputFd: number;
  /** Of qcow2 clusters. */
  readonly compression: "none" | "zlib" | "zstd";
  /** Least bytes of the disk. */
  readonly diskSize: number;
  /** Reads the disk back at the end. */
  readonly verify: boolean;
  /** Content of more than `diskSize` bytes is refused. */
  readonly sizeIsLimit: boolean;
  /** Of the disk's content. */
  readonly diskChecksums: readonly { readonly algorithm: string; readonly expected: string }[];
  readonly allowNested: boolean;
}

/**
 * What a job does, with the options of that alone. `inspect` says what the source is, with "inspected"; `list` what the
 * container layer holds, with "layer".
 */
export type NativeMode = NativeImport | NativeExport | { readonly name: "inspect" } | { readonly name: "list" };

/** What the source is and how it is read, whatever is done with it. */
export interface NativeSource {
  readonly containerLayer?: ContainerLayer;
  readonly fd?: number;
  readonly size?: number;
  readonly rangeSize?: number;
  readonly declaredFormat: string;
  readonly sourceIsDisk: boolean;
  /** The source is packed in snappy's framing format, which is never recognised by content. */
  readonly framedSnappy: boolean;
  readonly limits: { readonly maxVirtualSize: number; readonly maxScratch: number; readonly maxDecoderMemory: number };
  readonly scratchDirectory: string;
}

export interface NativeJobOptions extends NativeSource {
  readonly mode: NativeMode;
}

export interface NativeJob {
  /** The chunks are the core's until the "released" event of `batch`. */
  push(batch: number, chunks: readonly Uint8Array[]): void;
  end(): void;
  /** An import's. */
  releaseOutput(index: number): void;
  /** An import's; answers "begin" with the tar bytes around the disk. */
  begin(head: Uint8Array, tail: Uint8Array): void;
  /** Answers "range"; nothing where the source offers no ranges any more. */
  range(bytes: Uint8Array | undefined): void;
  /** Ends the job with E_CANCELLED soon. */
  cancel(): void;
  sourceBytes(): number;
  diskBytes(): number;
  /** Bytes that the core holds in scratch now. */
  scratchBytes(): number;
  /** CPU seconds that the job's threads have taken. */
  cpuSeconds(): number;
}

declare const nativeMemory: unique symbol;

/**
 * The core's part of ImportMemory (src/pipeline/import-memory.ts): counts the windows in flight of all jobs that hold
 * it.
 */
export interface NativeMemory {
  readonly [nativeMemory]: true;
}

interface Addon {
  readonly Job: new (options: NativeJobOptions, onEvent: (event: NativeEvent) => void) => NativeJob;
  /** `fullImports` of those that share it have all that they can use; of more each has less. */
  readonly ImportMemory: new (fullImports: number) => NativeMemory;
  /** Name to version of every codec library that answers at run time. */
  libraryVersions(): Record<string, string>;
  /** What, beside the content, decides a layer's bytes. */
  encoderId(codec: LayerCompression): string;
  /**
   * Gives the memory of chunks that nobody reads any more back at once; they are empty then. Those that share theirs
   * with others (Node's pool of small buffers) keep it.
   */
  freeChunks(chunks: readonly Uint8Array[]): void;
  /**
   * For a process that answers requests while jobs run, for long: they use the cores that nothing of ordinary priority
   * wants, at most `turns` of their threads compute at the same time, and the memory that they free is the system's
   * again.
   */
  runInService(turns: number): void;
  /** A new EC key and a certificate of its own signing for `commonName`, both PEM. */
  selfSigned(commonName: string): { readonly cert: string; readonly key: string };
}

const path = fileURLToPath(new URL("../../build/native/dvcr.node", import.meta.url));

function load(): Addon {
  if (!existsSync(path)) {
    throw new Error("the native core is not built; run `npm run setup` in the project's directory");
  }
  return createRequire(import.meta.url)(path) as Addon;
}

export const addon = load();
