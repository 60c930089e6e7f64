import { LAYER_BUFFER_BYTES, MOST_LAYER_BUFFERS } from "../layer/layer-buffers.ts";
import { Backlog } from "./backlog.ts";
import { LayerCopy } from "./layer-copy.ts";
import type { ScratchRoom } from "./scratch-file.ts";

/** What the core, where it keeps the layer as well, may add before the next look at it: all layer buffers. */
const CORE_AHEAD_BYTES = MOST_LAYER_BUFFERS * LAYER_BUFFER_BYTES;

export interface ScratchOptions {
  readonly directory: string;
  /** Most bytes in all scratch files of the import. */
  readonly limit: number;
  /** Bytes that the core holds in scratch now. */
  readonly coreBytes: () => number;
  /** Called once for each layer that is no longer kept, with the reason. */
  readonly onDropped: (reason: string) => void;
}

/**
 * The scratch space of one import: its directory, its limit, what is in it, and the two files that the import itself
 * keeps there beside the core's: the layer in case the registry loses it, and what waits while the registry is away.
 */
export class Scratch implements ScratchRoom {
  readonly directory: string;
  readonly limit: number;
  readonly #coreBytes: () => number;
  readonly #onDropped: (reason: string) => void;
  #kept: LayerCopy | undefined;
  #backlog: Backlog | undefined;
  #peak = 0;

  constructor(options: ScratchOptions) {
    this.directory = options.directory;
    this.limit = options.limit;
    this.#coreBytes = options.coreBytes;
    this.#onDropped = options.onDropped;
  }

  /** Bytes in all scratch files now, the core's included. */
  get used(): number {
    return this.#coreBytes() + this.#ownBytes;
  }

  /** Most bytes in scratch at any time something was added here. */
  get peak(): number {
    return this.#peak;
  }

  after(bytes: number): { readonly total: number; readonly coreAhead: number } {
    const core = this.#coreBytes();
    return { total: core + this.#ownBytes + bytes, coreAhead: core > 0 ? CORE_AHEAD_BYTES : 0 };
  }

  grewTo(total: number): void {
    this.#peak = Math.max(this.#peak, total);
  }

  get #ownBytes(): number {
    return (this.#kept?.size ?? 0) + (this.#backlog?.fileSize ?? 0);
  }

  /** Where one layer is kept until its blob is committed. One at a time: call clear() before the next. */
  keepLayer(): LayerCopy {
    this.#kept = new LayerCopy(this, this.#onDropped);
    return this.#kept;
  }

  /** Where bytes of one layer wait while the destination takes none. One at a time: call clear() before the next. */
  backlog(): Backlog {
    this.#backlog = new Backlog(this);
    return this.#backlog;
  }

  /** Removes the kept layer and the backlog. Never throws. */
  async clear(): Promise<void> {
    const [kept, backlog] = [this.#kept, this.#backlog];
    this.#kept = this.#backlog = undefined;
    await kept?.close().catch(() => undefined);
    await backlog?.close().catch(() => undefined);
  }
}
