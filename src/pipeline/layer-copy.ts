import type { FileHandle } from "node:fs/promises";

import type { LayerInsurance } from "../layer/layer-upload.ts";
import { openUnlinked, readPieces, writeFully, type ScratchRoom } from "./scratch-file.ts";

/** The layer as the destination has acknowledged it, in an unlinked file, until the blob is committed. */
export class LayerCopy implements LayerInsurance {
  readonly #scratch: ScratchRoom;
  readonly #onDropped: (reason: string) => void;
  #file: FileHandle | undefined;
  #size = 0;
  #dropped = false;

  /** `onDropped` is called once when nothing is kept any more, with the reason. */
  constructor(scratch: ScratchRoom, onDropped: (reason: string) => void) {
    this.#scratch = scratch;
    this.#onDropped = onDropped;
  }

  get size(): number {
    return this.#size;
  }

  async append(chunks: readonly Uint8Array[]): Promise<boolean> {
    if (this.#dropped) return false;
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    const { limit, directory } = this.#scratch;
    const { total, coreAhead } = this.#scratch.after(bytes);
    if (total + coreAhead > limit) {
      const more = coreAhead > 0 ? " and more" : "";
      this.#drop(`${String(total)} bytes${more} would be in scratch, ${String(limit)} are allowed`);
      return false;
    }
    try {
      this.#file ??= await openUnlinked(directory);
      await writeFully(this.#file, chunks, this.#size);
    } catch (error) {
      this.#drop(`writing scratch failed: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
      return false;
    }
    this.#size += bytes;
    this.#scratch.grewTo(total);
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

  /** What is in the file stays until close(): the destination may not have confirmed it yet. */
  #drop(reason: string): void {
    this.#dropped = true;
    this.#onDropped(reason);
  }
}
