import type { OpenSource } from "../source/source.ts";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import type { TarFrame } from "../layer/tar-frame.ts";
import { addon, type NativeEvent, type NativeImage, type NativeJob, type NativeResult } from "../native/addon.ts";
import { usefulThreads } from "../native/threads.ts";
import { Feed } from "./feed.ts";
import type { ImportOptions } from "./import-image.ts";
import type { ImportMemory } from "./import-memory.ts";

/** Where a conversion's layer bytes go. */
export interface LayerSink {
  /**
   * A layer of a disk of `size` bytes begins; anything written before is void. Resolves with the tar bytes around the
   * disk, or with nothing where no layer of such a disk is wanted: the conversion then ends as "declined".
   */
  begin(size: number, sizeFrom: string, attempt: number): Promise<TarFrame | undefined>;
  /** Takes the next bytes; resolves when `chunk` may be overwritten. */
  write(chunk: Uint8Array): Promise<void>;
  /** Nothing follows, unless another layer begins. */
  end?(): void;
}

export interface ConversionSettings {
  readonly options: ImportOptions;
  readonly memory: ImportMemory;
  /** Exact size of a headerless disk, from an earlier pass over the same source. */
  readonly declaredSize?: number;
  /** The source can be read again, so nothing is kept for a wrong size hint. */
  readonly replayable: boolean;
}

/** How a conversion ended in which nothing failed. */
export type ConversionEnd =
  | { readonly kind: "converted"; readonly result: NativeResult }
  /** The disk has this size (bytes) and not the one hinted at: convert again with it declared. */
  | { readonly kind: "other-size"; readonly actualSize: number }
  /** The sink wants no layer of such a disk. */
  | { readonly kind: "declined" };

/** One native job from source to layer sink. */
export class Conversion {
  readonly #source: OpenSource;
  readonly #sink: LayerSink;
  readonly #buffers: readonly Uint8Array[];
  readonly #job: NativeJob;
  readonly #feed: Feed;
  readonly #writes = new Set<Promise<void>>();
  #error: Error | undefined;
  #declined = false;
  #settle!: { resolve: (end: ConversionEnd) => void; reject: (reason: unknown) => void };
  readonly #ended: Promise<ConversionEnd>;
  onImage: ((image: NativeImage) => void) | undefined;

  constructor(source: OpenSource, sink: LayerSink, buffers: readonly Uint8Array[], settings: ConversionSettings) {
    this.#source = source;
    this.#sink = sink;
    this.#buffers = buffers;
    this.#ended = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#job = new addon.Job(
      {
        ...sourceOptions(source),
        declaredFormat: settings.options.sourceFormat ?? "",
        limits: settings.options.limits,
        scratchDirectory: settings.options.scratchDirectory,
        mode: {
          name: "import",
          checksums: settings.options.checksums,
          codec: settings.options.compression,
          threads: usefulThreads(),
          allowNested: settings.options.allowNested || settings.options.format === "source",
          keepSourceFormat: settings.options.format === "source",
          ...(settings.declaredSize === undefined ? {} : { declaredSize: settings.declaredSize }),
          replayable: settings.replayable,
          memory: settings.memory.native,
          buffers,
        },
      },
      (event) => {
        this.#onEvent(event);
      },
    );
    this.#feed = new Feed(this.#job, settings.memory);
  }

  /** Runs to the end; of a converted disk every layer byte was then taken by the sink. Throws DvcrError. */
  async run(signal: AbortSignal): Promise<ConversionEnd> {
    const cancel = () => {
      this.#fail(toDvcrError(signal.reason));
    };
    if (signal.aborted) cancel();
    signal.addEventListener("abort", cancel, { once: true });
    const feeding = this.#source.chunks
      ? this.#feed.run(this.#source.chunks).catch((error: unknown) => {
          this.#fail(error);
        })
      : undefined;
    try {
      const end = await this.#ended;
      if (end.kind === "converted") {
        this.#sink.end?.();
        await feeding;
        await Promise.all(this.#writes);
      }
      if (this.#error !== undefined) throw this.#error;
      return end;
    } catch (error) {
      // The first cause speaks: a source or registry failure cancels the job, whose own error then says only that.
      throw this.#error ?? error;
    } finally {
      signal.removeEventListener("abort", cancel);
      // Where nothing more is wanted, a waiting feed is not waited for: a client may send nothing for minutes. Closing
      // the source ends it.
      this.#feed.close();
      await Promise.allSettled(this.#writes);
    }
  }

  /** Source bytes the core has taken. */
  sourceBytes(): number {
    return this.#job.sourceBytes();
  }

  /** Bytes that the core holds in scratch. */
  scratchBytes(): number {
    return this.#job.scratchBytes();
  }

  /** CPU seconds of the core's threads. */
  cpuSeconds(): number {
    return this.#job.cpuSeconds();
  }

  #fail(error: unknown): void {
    this.#error ??= toDvcrError(error);
    this.#job.cancel();
  }

  #onEvent(event: NativeEvent): void {
    switch (event.type) {
      case "released":
        this.#feed.released(event.batch);
        break;
      case "output":
        this.#write(event.index, event.length);
        break;
      case "begin":
        this.#sink.begin(event.size, event.sizeFrom, event.attempt).then(
          (frame) => {
            if (frame !== undefined) {
              this.#job.begin(frame.head, frame.tail);
              return;
            }
            this.#declined = true;
            this.#job.cancel();
          },
          (error: unknown) => {
            this.#fail(error);
          },
        );
        break;
      case "range":
        answerRange(this.#job, this.#source, event, (error) => {
          this.#fail(error);
        });
        break;
      case "image":
        this.onImage?.(event.image);
        break;
      case "layer":
      case "exported":
      case "inspected":
        break;
      case "finished":
        this.#settle.resolve({ kind: "converted", result: event.result });
        break;
      case "failed":
        if (this.#declined) this.#settle.resolve({ kind: "declined" });
        else if (event.actualSize !== undefined)
          this.#settle.resolve({ kind: "other-size", actualSize: event.actualSize });
        else this.#settle.reject(nativeError(event.code, event.message, this.#source));
        break;
    }
  }

  #write(index: number, length: number): void {
    const chunk = this.#buffers[index]!.subarray(0, length);
    const write = this.#sink
      .write(chunk)
      .then(
        () => {
          this.#job.releaseOutput(index);
        },
        (error: unknown) => {
          this.#fail(error);
        },
      )
      .finally(() => this.#writes.delete(write));
    this.#writes.add(write);
  }
}

/** Gives `job` the bytes of `source` that it asks for. `fail` is called where they cannot be read. */
export function answerRange(
  job: NativeJob,
  source: OpenSource,
  { offset, length }: { readonly offset: number; readonly length: number },
  fail: (error: unknown) => void,
): void {
  const read =
    source.readRange?.(offset, length) ?? Promise.reject(new DvcrError("E_INTERNAL", "the source has no ranges"));
  read.then((bytes) => {
    job.range(bytes);
  }, fail);
}

/** The native job's options that say what `source` is. */
export function sourceOptions(source: OpenSource) {
  return {
    ...(source.fd === undefined ? {} : { fd: source.fd }),
    ...(source.size === undefined ? {} : { size: source.size }),
    ...(source.size !== undefined && source.readRange ? { rangeSize: source.size } : {}),
    ...(source.containerLayer === undefined ? {} : { containerLayer: source.containerLayer }),
    sourceIsDisk: source.isDisk ?? false,
    framedSnappy: source.isFramedSnappy ?? false,
  };
}

/** An error of the core by its code. What is no disk is often another page than the one that was asked for. */
export function nativeError(code: string, message: string, { sentBy }: OpenSource): DvcrError {
  const text = code === "E_NOT_A_DISK" && sentBy !== undefined ? `${message}; ${sentBy} sent it` : message;
  return toDvcrError(Object.assign(new Error(text), { code }));
}
