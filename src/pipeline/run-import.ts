import { isUploadLost, type CurrentImage, type Destination } from "../destination/destination.ts";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import { tarFrame } from "../layer/tar-frame.ts";
import type { NativeResult } from "../native/addon.ts";
import type { OpenSource, Source } from "../source/source.ts";
import { Conversion, type ConversionEnd, type LayerSink } from "./conversion.ts";
import type { ImportImage, ImportOptions, ImportProgress, ImportReport } from "./import-image.ts";
import type { ImportMemory } from "./import-memory.ts";
import { PushingSink } from "./pushing-sink.ts";
import { findMade, reuseReport, withDigestForReuse } from "./reuse.ts";
import { diskSizeOf, imageOf, maySameImage } from "./same-image.ts";
import { Scratch } from "./scratch.ts";

/** A source is not read again and again for a registry that keeps nothing. */
const MAX_RESTARTS = 5;

/** How a process imports; all its imports share `memory`. See ImportImage. */
export function importingWith(memory: ImportMemory): ImportImage {
  return (source, destination, options, signal) => {
    const run = new ImportRun(source, destination, options, signal, memory);
    return { progress: () => run.progress(), done: run.run() };
  };
}

class ImportRun {
  readonly #source: Source;
  readonly #destination: Destination;
  readonly #options: ImportOptions;
  readonly #given: ImportOptions;
  readonly #signal: AbortSignal;
  readonly #memory: ImportMemory;
  readonly #scratch: Scratch;
  readonly #buffers: readonly Uint8Array[];
  readonly #started = performance.now();
  /** Opened already, for the push. */
  #opened: OpenSource | undefined;
  #conversion: Conversion | undefined;
  /** Source bytes that have come, the ones that the core has not been given included. */
  #received: () => number = () => 0;
  #sourceSize: number | undefined;
  #sourceBytes = 0;
  #layerBytes = 0;
  #restarts = 0;
  /** CPU seconds of the passes that have ended. */
  #cpuBefore = 0;

  constructor(
    source: Source,
    destination: Destination,
    options: ImportOptions,
    signal: AbortSignal,
    memory: ImportMemory,
  ) {
    this.#source = source;
    this.#destination = destination;
    this.#options = withDigestForReuse(options);
    this.#given = options;
    this.#signal = signal;
    this.#memory = memory;
    this.#scratch = new Scratch({
      directory: options.scratchDirectory,
      limit: options.limits.maxScratch,
      coreBytes: () => this.#conversion?.scratchBytes() ?? 0,
      onDropped: (reason) => {
        this.#notice(`the layer is no longer kept in case the registry loses it: ${reason}`);
      },
    });
    this.#buffers = memory.enter(destination.chunksAhead);
  }

  progress(): ImportProgress {
    this.#sourceBytes = Math.max(this.#sourceBytes, this.#conversion?.sourceBytes() ?? 0, this.#received());
    return {
      sourceBytes: this.#sourceBytes,
      ...(this.#sourceSize === undefined ? {} : { sourceSize: this.#sourceSize }),
      layerBytes: this.#layerBytes,
      cpuSeconds: this.#cpuBefore + (this.#conversion?.cpuSeconds() ?? 0),
    };
  }

  async run(): Promise<ImportReport> {
    try {
      return (await this.#reuse()) ?? (await this.#confirmPresent()) ?? (await this.#push());
    } catch (error) {
      throw toDvcrError(error);
    } finally {
      // The job ends with its conversion; its last count stays as the final progress.
      this.progress();
      this.#endPass();
      this.#memory.leave();
    }
  }

  async #reuse(): Promise<ImportReport | undefined> {
    const found = await findMade(this.#destination, this.#given, this.#signal);
    if (found === undefined || this.#destination.tagImage === undefined) return undefined;
    await this.#destination.tagImage(found, this.#signal);
    return reuseReport(found, this.#destination.reference, this.#given, (performance.now() - this.#started) / 1000);
  }

  /**
   * Where the tag already holds what looks like this very import, and the source can be read again, the layer is first
   * made without sending it: when its digest is the one that is there, nothing needs to be pushed.
   */
  async #confirmPresent(): Promise<ImportReport | undefined> {
    if (!this.#source.replayable && this.#source.refetchable === false) return undefined;
    const current = await this.#destination.current(this.#signal);
    if (!current) return undefined;
    const opened = await this.#source.open(this.#signal);
    if (!maySameImage(current, this.#options, opened.size) || !(await this.#provesReadAgain(opened))) {
      this.#opened = opened;
      return undefined;
    }
    const made = await this.#convert(opened, new ComparingSink(current));
    if (made.kind === "declined" || made.result.layerDigest !== current.layers[0]?.digest) return undefined;
    return await this.#commit(made.result, false);
  }

  /**
   * A server that says so is asked for a byte: a link may be good for one request, which is not to be spent in vain.
   */
  async #provesReadAgain(opened: OpenSource): Promise<boolean> {
    if (this.#source.replayable) return true;
    if (!this.#canReadAgain) return false;
    if (opened.readRange === undefined || opened.size === undefined) return true;
    return (await opened.readRange(opened.size - 1, 1)) !== undefined;
  }

  /** Whether the source's bytes can be had a second time; known of a server once it was opened. */
  get #canReadAgain(): boolean {
    return this.#source.replayable || this.#source.refetchable === true;
  }

  async #push(): Promise<ImportReport> {
    for (let reruns = 0; ; reruns += 1) {
      try {
        return await this.#pushOnce();
      } catch (error) {
        if (!isUploadLost(error) || !this.#canReadAgain || reruns === MAX_RESTARTS) throw error;
        this.#restarts += 1;
        this.#notice(`${toDvcrError(error).message}; the source is read again from its start`);
      }
    }
  }

  async #pushOnce(): Promise<ImportReport> {
    const sink = new PushingSink(this.#destination, this.#signal, {
      onAcknowledged: (bytes) => {
        this.#layerBytes += bytes;
      },
      // What can be asked for again waits at its origin, and scratch of the layer's size for every import would cost
      // more than reading a source again after the rare fault.
      scratch: () => (this.#canReadAgain ? undefined : this.#scratch),
    });
    try {
      const opened = this.#opened ?? (await this.#source.open(this.#signal));
      this.#opened = undefined;
      const made = await this.#convert(opened, sink);
      if (made.kind === "declined") throw new DvcrError("E_INTERNAL", "the push declined the layer");
      const { result } = made;
      await sink.commit(result.layerDigest, result.layerSize);
      this.#restarts += sink.restarts;
      return await this.#commit(result, true);
    } catch (error) {
      await sink.abort();
      throw error;
    }
  }

  #notice(text: string): void {
    this.#options.onNotice?.(text);
  }

  /** Converts, a second time where a file turned out to have another size than hinted. Closes `opened`. */
  async #convert(opened: OpenSource, sink: LayerSink): Promise<Exclude<ConversionEnd, { kind: "other-size" }>> {
    let source = opened;
    let declaredSize: number | undefined;
    for (;;) {
      let end: ConversionEnd;
      try {
        const reading = source;
        this.#sourceSize = source.size;
        this.#received = () => reading.received?.() ?? 0;
        this.#conversion = new Conversion(source, sink, this.#buffers, {
          options: this.#options,
          memory: this.#memory,
          replayable: this.#source.replayable,
          ...(declaredSize === undefined ? {} : { declaredSize }),
        });
        end = await this.#conversion.run(this.#signal);
      } finally {
        this.progress();
        this.#endPass();
        await source.close();
      }
      if (end.kind !== "other-size") return end;
      if (declaredSize !== undefined) throw this.#changedBetween(declaredSize, end.actualSize);
      declaredSize = end.actualSize;
      if (!this.#source.replayable)
        this.#notice(
          `the disk has ${String(declaredSize)} bytes and not what its beginning and the file's end ` +
            "say; the source is read again",
        );
      source = await this.#source.open(this.#signal);
    }
  }

  #endPass(): void {
    this.#cpuBefore += this.#conversion?.cpuSeconds() ?? 0;
    this.#conversion = undefined;
  }

  #changedBetween(first: number, second: number): DvcrError {
    return new DvcrError(
      "E_SOURCE_CHANGED",
      `${this.#source.description} held a disk of ${String(first)} bytes when it was first read, ` +
        `and one of ${String(second)} the second time`,
    );
  }

  async #commit(result: NativeResult, layerPushed: boolean): Promise<ImportReport> {
    const image = imageOf(result, this.#options);
    await this.#destination.commitImage(image, this.#signal);
    const durationSeconds = (performance.now() - this.#started) / 1000;
    return {
      image: this.#destination.reference,
      manifestDigest: image.manifestDigest,
      layerDigest: result.layerDigest,
      diffId: result.diffId,
      sourceFormat: result.image.format,
      format: result.storedFormat,
      sourceSize: result.sourceSize,
      virtualSize: result.image.virtualSize ?? result.diskSize,
      storedSize: result.layerSize,
      durationSeconds,
      averageSpeed: Math.round(result.sourceSize / Math.max(durationSeconds, 0.001)),
      checksums: result.checksums,
      scratchPeak: Math.max(result.scratchPeak, this.#scratch.peak),
      sizeFrom: result.sizeFrom,
      layerPushed,
      restarts: this.#restarts,
      warnings: result.image.warnings,
    };
  }
}

/** Takes the layer and keeps nothing: its digest is all that is wanted. */
class ComparingSink implements LayerSink {
  readonly #current: CurrentImage;

  constructor(current: CurrentImage) {
    this.#current = current;
  }

  /** Of another size than the disk at the tag: no need to convert it just to compare digests. */
  async begin(size: number) {
    const expected = diskSizeOf(this.#current);
    return expected === undefined || expected === size ? await tarFrame(size) : undefined;
  }

  write(): Promise<void> {
    return Promise.resolve();
  }
}
