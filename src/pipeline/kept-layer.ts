import type { FileHandle } from "node:fs/promises";

import type { LayerInsurance } from "../destination/destination.ts";
import { openUnlinked, readPieces, writeFully } from "./scratch-file.ts";

/** What the core, where it keeps the layer as well, may add to its scratch before the next look at it: all layer buffers. */
const CORE_AHEAD_BYTES = 24 << 20;

export interface ScratchRoom {
  readonly directory: string;
  /** Most bytes in all scratch files of the import. */
  readonly limit: number;
  /** Bytes that the core holds in scratch now. */
  readonly coreBytes: () => number;
  /** Told once when nothing is kept any more, and why. */
  readonly onDropped: (reason: string) => void;
}

/** The layer as the destination has acknowledged it, in an unlinked file, until the blob is committed. */
export class KeptLayer implements LayerInsurance {
  readonly #room: ScratchRoom;
  #file: FileHandle | undefined;
  #size = 0;
  #peak = 0;
  #dropped = false;

  constructor(room: ScratchRoom) {
    this.#room = room;
  }

  get size(): number {
    return this.#size;
  }

  /** Most bytes in scratch, the core's included, at any time something was kept here. */
  get peak(): number {
    return this.#peak;
  }

  async append(chunks: readonly Uint8Array[]): Promise<boolean> {
    if (this.#dropped) return false;
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    const core = this.#room.coreBytes();
    const total = core + this.#size + bytes;
    if (total + (core > 0 ? CORE_AHEAD_BYTES : 0) > this.#room.limit) {
      await this.#drop(
        `${String(total)} bytes${core > 0 ? " and more" : ""} would be in scratch, ${String(this.#room.limit)} are allowed`,
      );
      return false;
    }
    try {
      this.#file ??= await openUnlinked(this.#room.directory);
      await writeFully(this.#file, chunks, this.#size);
    } catch (error) {
      await this.#drop(`writing scratch failed: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
      return false;
    }
    this.#size += bytes;
    this.#peak = Math.max(this.#peak, total);
    return true;
  }

  read(offset: number, length: number): AsyncGenerator<Uint8Array> {
    return readPieces(this.#file, offset, length);
  }

  async close(): Promise<void> {
    this.#dropped = true;
    this.#size = 0;
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #drop(reason: string): Promise<void> {
    await this.close();
    this.#room.onDropped(reason);
  }
}
