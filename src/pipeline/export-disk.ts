/** One export from source to report: the disk of any source that can be imported, into a file, a device or a pipe. */
import type { DiskTarget, OpenDisk } from "../disk/disk-target.ts";
import { toDvcrError } from "../errors/dvcr-error.ts";
import { addon, type NativeDiskResult, type NativeEvent, type NativeJob } from "../native/addon.ts";
import { usefulThreads } from "../native/threads.ts";
import type { OpenSource, Source } from "../source/source.ts";
import { answerRange, nativeError, sourceOptions } from "./conversion.ts";
import { Feed } from "./feed.ts";
import type { ImportLimits, ImportProgress } from "./import-image.ts";
import type { FeedMemory } from "./import-memory.ts";

export type DiskFormat = "raw" | "qcow2";

export interface ExportOptions {
  readonly format: DiskFormat;
  /** Of the clusters of a qcow2 image. */
  readonly compression: "none" | "zlib" | "zstd";
  /** Least bytes of the disk: what the content does not have are zeros. */
  readonly size?: number;
  /** A disk that is larger than `size` is refused, else it keeps its own size. */
  readonly sizeIsLimit: boolean;
  /** Of the raw disk. */
  readonly checksums: readonly { readonly algorithm: string; readonly expected: string }[];
  /** Read the disk back from its medium and compare it with what was written. */
  readonly verify: boolean;
  readonly sourceFormat?: string;
  readonly allowNested: boolean;
  readonly limits: ImportLimits;
  readonly scratchDirectory: string;
  readonly memory: FeedMemory;
  /** Called once the image's headers were read; what it throws ends the export. */
  readonly onImage?: (image: FoundImage) => void;
}

/** What is known before the first byte of the disk is written. Sizes in bytes. */
export interface FoundImage {
  readonly format: string;
  readonly virtualSize?: number;
  readonly source: OpenSource;
}

/** What --json prints; sizes in bytes, speed in bytes per second of disk. */
export interface ExportReport {
  readonly source: string;
  readonly destination: string;
  readonly manifestDigest?: string;
  readonly layerDigest?: string;
  readonly diffId?: string;
  readonly sourceFormat: string;
  readonly format: DiskFormat;
  readonly virtualSize: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly allocatedBytes?: number;
  readonly sha256?: string;
  readonly checksums: Readonly<Record<string, string>>;
  /** The disk was read back. */
  readonly isVerified: boolean;
  readonly durationSeconds: number;
  readonly averageSpeed: number;
  readonly resumedFrom?: number;
  readonly warnings: readonly string[];
}

export interface RunningExport {
  progress(): ImportProgress;
  readonly done: Promise<ExportReport>;
}

/**
 * Runs one export. The disk gets its name only after every check of the source passed: its length, its digests, every
 * referenced cluster, and the disk's own checksums; after a failure no file of it remains.
 */
export function exportDisk(
  source: Source,
  target: DiskTarget,
  options: ExportOptions,
  signal: AbortSignal,
): RunningExport {
  const run = new ExportRun(source, target, options, signal);
  return { progress: () => run.progress(), done: run.run() };
}

class ExportRun {
  readonly #source: Source;
  readonly #target: DiskTarget;
  readonly #options: ExportOptions;
  readonly #signal: AbortSignal;
  readonly #started = performance.now();
  #job: NativeJob | undefined;
  #sourceSize: number | undefined;
  #received: () => number = () => 0;
  #progress: ImportProgress = { sourceBytes: 0, layerBytes: 0 };

  constructor(source: Source, target: DiskTarget, options: ExportOptions, signal: AbortSignal) {
    this.#source = source;
    this.#target = target;
    this.#options = options;
    this.#signal = signal;
  }

  progress(): ImportProgress {
    this.#progress = {
      sourceBytes: Math.max(this.#progress.sourceBytes, this.#job?.sourceBytes() ?? 0, this.#received()),
      ...(this.#sourceSize === undefined ? {} : { sourceSize: this.#sourceSize }),
      layerBytes: Math.max(this.#progress.layerBytes, this.#job?.diskBytes() ?? 0),
    };
    return this.#progress;
  }

  async run(): Promise<ExportReport> {
    try {
      const opened = await this.#source.open(this.#signal);
      try {
        const disk = await this.#target.open();
        try {
          // First: where the image's own documents are damaged nothing is written.
          const diffId = await opened.storedImage?.diffId();
          const result = await this.#convert(opened, disk);
          await disk.commit();
          return await this.#report(opened, disk, result, diffId);
        } finally {
          await disk.close();
        }
      } finally {
        this.progress();
        await opened.close();
      }
    } catch (error) {
      throw toDvcrError(error);
    }
  }

  async #convert(opened: OpenSource, disk: OpenDisk): Promise<NativeDiskResult> {
    this.#sourceSize = opened.size;
    this.#received = () => opened.received?.() ?? 0;
    let failure: unknown;
    const fail = (error: unknown) => {
      failure ??= error;
      this.#job?.cancel();
    };
    const cancel = () => {
      fail(this.#signal.reason);
    };
    try {
      return await new Promise<NativeDiskResult>((resolve, reject) => {
        const job = (this.#job = this.#makeJob(opened, disk, (event) => {
          switch (event.type) {
            case "released":
              feed.released(event.batch);
              break;
            case "range":
              answerRange(job, opened, event, fail);
              break;
            case "image":
              try {
                const { format, virtualSize } = event.image;
                const size = virtualSize === undefined ? {} : { virtualSize };
                this.#options.onImage?.({ format, ...size, source: opened });
              } catch (error) {
                fail(error);
              }
              break;
            case "exported":
              feed.close();
              resolve(event.result);
              break;
            case "failed":
              feed.close();
              // The first cause speaks: a failed source cancels the job, whose own error then says only that.
              reject(toDvcrError(failure ?? nativeError(event.code, event.message, opened)));
              break;
            case "output":
            case "begin":
            case "layer":
            case "inspected":
            case "finished":
              break;
          }
        }));
        const feed = new Feed(job, this.#options.memory);
        this.#signal.addEventListener("abort", cancel, { once: true });
        if (this.#signal.aborted) cancel();
        if (opened.chunks) feed.run(opened.chunks).catch(fail);
      });
    } finally {
      this.#signal.removeEventListener("abort", cancel);
    }
  }

  #makeJob(opened: OpenSource, disk: OpenDisk, onEvent: (event: NativeEvent) => void): NativeJob {
    return new addon.Job(
      {
        ...sourceOptions(opened),
        declaredFormat: this.#options.sourceFormat ?? "",
        limits: this.#options.limits,
        scratchDirectory: this.#options.scratchDirectory,
        mode: {
          name: "export",
          kind: this.#options.format === "qcow2" ? "qcow2" : disk.kind,
          outputFd: disk.fd,
          compression: this.#options.compression,
          diskSize: this.#options.size ?? 0,
          verify: this.#options.verify,
          sizeIsLimit: this.#options.sizeIsLimit,
          diskChecksums: this.#options.checksums,
          allowNested: this.#options.allowNested,
          checksums: [],
          threads: usefulThreads(),
          replayable: false,
        },
      },
      onEvent,
    );
  }

  async #report(
    opened: OpenSource,
    disk: OpenDisk,
    result: NativeDiskResult,
    diffId: string | undefined,
  ): Promise<ExportReport> {
    const durationSeconds = (performance.now() - this.#started) / 1000;
    const virtualSize = Math.max(result.diskSize, this.#options.size ?? 0);
    const allocatedBytes = await disk.allocatedBytes();
    // Of the content: what --size adds is not in it.
    const sha256 = virtualSize === result.diskSize ? result.diskChecksums["sha256"] : undefined;
    return {
      source: this.#source.description,
      destination: this.#target.description,
      ...(opened.storedImage === undefined ? {} : { manifestDigest: opened.storedImage.manifestDigest }),
      ...(opened.containerLayer === undefined ? {} : { layerDigest: opened.containerLayer.digest }),
      ...(diffId === undefined ? {} : { diffId }),
      sourceFormat: result.image.format,
      format: this.#options.format,
      virtualSize,
      bytesRead: result.sourceSize,
      bytesWritten: result.bytesWritten,
      ...(allocatedBytes === undefined ? {} : { allocatedBytes }),
      ...(sha256 === undefined ? {} : { sha256 }),
      checksums: result.diskChecksums,
      isVerified: this.#options.verify,
      durationSeconds,
      averageSpeed: Math.round(virtualSize / Math.max(durationSeconds, 0.001)),
      warnings: [...result.image.warnings, ...result.outputWarnings],
    };
  }
}
