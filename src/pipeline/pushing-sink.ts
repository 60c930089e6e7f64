import type { Destination } from "../destination/destination.ts";
import type { LayerUpload } from "../layer/layer-upload.ts";
import { DvcrError } from "../errors/dvcr-error.ts";
import { tarFrame } from "../layer/tar-frame.ts";
import type { LayerSink } from "./conversion.ts";
import type { Scratch } from "./scratch.ts";

export interface PushingSinkParts {
  readonly onAcknowledged: (bytes: number) => void;
  /**
   * Asked for each layer: where it is kept for a destination that may lose it, and where it waits for one that is away.
   */
  readonly scratch: () => Scratch | undefined;
}

/** Sends the layer to a destination; a further attempt drops the upload and begins another. */
export class PushingSink implements LayerSink {
  readonly #destination: Destination;
  readonly #signal: AbortSignal;
  readonly #parts: PushingSinkParts;
  #upload: LayerUpload | undefined;
  /** A layer that is being begun: its end, and how to end the wait for it. */
  #beginning: { readonly settled: Promise<unknown>; readonly stop: AbortController } | undefined;
  #scratch: Scratch | undefined;
  /** How often the destination was given the layer again from what was kept. */
  restarts = 0;

  constructor(destination: Destination, signal: AbortSignal, parts: PushingSinkParts) {
    this.#destination = destination;
    this.#signal = signal;
    this.#parts = parts;
  }

  begin(size: number) {
    const stop = new AbortController();
    const began = this.#begin(size, AbortSignal.any([this.#signal, stop.signal]));
    this.#beginning = { settled: began.catch(() => undefined), stop };
    return began;
  }

  async write(chunk: Uint8Array): Promise<void> {
    const upload = this.#upload;
    try {
      await this.#active().write(chunk);
      this.#parts.onAcknowledged(chunk.byteLength);
    } catch (error) {
      // What was on its way when a further attempt began is void, and so is its failure.
      if (upload === this.#upload) throw error;
    }
  }

  end(): void {
    this.#upload?.end?.();
  }

  async commit(digest: string, size: number): Promise<void> {
    const upload = this.#active();
    await upload.commit(digest, size);
    this.#upload = undefined;
    await this.#release(upload);
  }

  /** Drops what was sent and what was kept. Never throws. */
  async abort(): Promise<void> {
    // What the destination has begun by now would stay there if it were not waited for.
    this.#beginning?.stop.abort(new DvcrError("E_CANCELLED", "the layer is not wanted any more"));
    await this.#beginning?.settled;
    await this.#drop();
  }

  async #begin(size: number, signal: AbortSignal) {
    await this.#drop();
    this.#scratch = this.#parts.scratch();
    this.#upload = await this.#destination.beginLayer(signal, this.#scratch?.keepLayer(), this.#scratch?.backlog());
    this.#beginning = undefined;
    return await tarFrame(size);
  }

  async #drop(): Promise<void> {
    const upload = this.#upload;
    this.#upload = undefined;
    await upload?.abort();
    await this.#release(upload);
  }

  async #release(upload: LayerUpload | undefined): Promise<void> {
    this.restarts += upload?.restarts ?? 0;
    await this.#scratch?.clear();
    this.#scratch = undefined;
  }

  #active(): LayerUpload {
    if (!this.#upload) throw new DvcrError("E_INTERNAL", "layer bytes came before the layer began");
    return this.#upload;
  }
}
