import { LAYER_BUFFER_BYTES, LEAST_LAYER_BUFFERS, MOST_LAYER_BUFFERS } from "../layer/layer-buffers.ts";
import { addon, type NativeMemory } from "../native/addon.ts";

/** So many imports at once have all the memory that they can use; of more of them each has less. */
const FULL_IMPORTS = 6;

/** Source bytes of one import that the core may have in hand before the source is paused. */
const MOST_FED = 6 << 20;
const LEAST_FED = 3 << 20;

/** How much of its source an import, or an inspection, may push ahead of the core. */
export interface FeedMemory {
  /** Bytes in hand above which the source is paused; it goes on at half of them. Changes with what others do. */
  highWater(): number;
  /** Counts bytes that went to the core, or, below zero, came back. */
  count(bytes: number): void;
}

/** An inspection reads headers: it needs no more than keeps it going, and shares with nobody. */
export const inspectionMemory: FeedMemory = {
  highWater: () => LEAST_FED,
  count: () => undefined,
};

/**
 * The memory that the imports of one process share: made by the process, passed to each of its imports, the core
 * included. Few imports have all that they can use; of many each has the least that keeps it going, so that memory
 * grows slowly with their number.
 */
export class ImportMemory implements FeedMemory {
  /** The core's part: windows in flight. */
  readonly native: NativeMemory = new addon.ImportMemory(FULL_IMPORTS);
  #imports = 0;
  #fed = 0;

  /** An import begins. @returns buffers for its layer, `ahead` of them at most, for all attempts of it. */
  enter(ahead = MOST_LAYER_BUFFERS): Uint8Array[] {
    this.#imports += 1;
    const most = this.#imports > FULL_IMPORTS ? LEAST_LAYER_BUFFERS : MOST_LAYER_BUFFERS;
    return Array.from({ length: Math.min(ahead, most) }, () => Buffer.allocUnsafeSlow(LAYER_BUFFER_BYTES));
  }

  /** An import has ended. */
  leave(): void {
    this.#imports -= 1;
  }

  highWater(): number {
    return this.#fed < FULL_IMPORTS * MOST_FED ? MOST_FED : LEAST_FED;
  }

  count(bytes: number): void {
    this.#fed += bytes;
  }
}
