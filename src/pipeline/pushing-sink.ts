import type { Destination, LayerUpload } from "../destination/destination.ts";
import { DvcrError } from "../errors/dvcr-error.ts";
import { tarFrame } from "../layer/tar-frame.ts";
import type { LayerSink } from "./conversion.ts";
import type { KeptLayer } from "./kept-layer.ts";

export interface PushingSinkParts {
  readonly onAcknowledged: (bytes: number) => void;
  /** Gives the place where a layer is kept for a destination that may lose it, or nothing where none is wanted. */
  readonly keptLayer: () => KeptLayer | undefined;
}

/** Sends the layer to a destination; a further attempt drops the upload and begins another. */
export class PushingSink implements LayerSink {
  readonly #destination: Destination;
  readonly #signal: AbortSignal;
  readonly #parts: PushingSinkParts;
  #upload: LayerUpload | undefined;
  #kept: KeptLayer | undefined;
  /** How often the destination was given the layer again from what was kept. */
  restarts = 0;
  /** Bytes. */
  scratchPeak = 0;

  constructor(destination: Destination, signal: AbortSignal, parts: PushingSinkParts) {
    this.#destination = destination;
    this.#signal = signal;
    this.#parts = parts;
  }

  async begin(size: number) {
    await this.abort();
    this.#kept = this.#parts.keptLayer();
    this.#upload = await this.#destination.beginLayer(this.#signal, this.#kept);
    return await tarFrame(size);
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

  async commit(digest: string, size: number): Promise<void> {
    const upload = this.#active();
    await upload.commit(digest, size);
    this.#upload = undefined;
    await this.#release(upload);
  }

  /** Drops what was sent and what was kept. Never throws. */
  async abort(): Promise<void> {
    const upload = this.#upload;
    this.#upload = undefined;
    await upload?.abort();
    await this.#release(upload);
  }

  async #release(upload: LayerUpload | undefined): Promise<void> {
    this.restarts += upload?.restarts ?? 0;
    this.scratchPeak = Math.max(this.scratchPeak, this.#kept?.peak ?? 0);
    await this.#kept?.close().catch(() => undefined);
    this.#kept = undefined;
  }

  #active(): LayerUpload {
    if (!this.#upload) throw new DvcrError("E_INTERNAL", "layer bytes came before the layer began");
    return this.#upload;
  }
}
