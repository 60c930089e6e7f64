import type { FileHandle } from "node:fs/promises";

import type { LayerBacklog } from "../layer/layer-upload.ts";
import { openUnlinked, readPieces, writeFully, type ScratchRoom } from "./scratch-file.ts";

/** Layer bytes that the destination cannot take for now, in an unlinked file, first in first out. */
export class Backlog implements LayerBacklog {
  readonly #scratch: ScratchRoom;
  #file: FileHandle | undefined;
  #read = 0;
  #end = 0;

  constructor(scratch: ScratchRoom) {
    this.#scratch = scratch;
  }

  get size(): number {
    return this.#end - this.#read;
  }

  /** Bytes of the file: all that was added since it was last empty. */
  get fileSize(): number {
    return this.#end;
  }

  async append(chunks: readonly Uint8Array[]): Promise<boolean> {
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    const { total } = this.#scratch.after(bytes);
    if (total > this.#scratch.limit) return false;
    try {
      this.#file ??= await openUnlinked(this.#scratch.directory);
      await writeFully(this.#file, chunks, this.#end);
    } catch {
      // What the file got of these lies behind the end and is written over.
      return false;
    }
    this.#end += bytes;
    this.#scratch.grewTo(total);
    return true;
  }

  async take(most: number): Promise<Uint8Array[]> {
    const length = Math.min(most, this.size);
    const pieces: Uint8Array[] = [];
    for await (const piece of readPieces(this.#file, this.#read, length)) pieces.push(piece);
    this.#read += length;
    if (this.#read === this.#end) {
      await this.#file?.truncate(0);
      this.#read = this.#end = 0;
    }
    return pieces;
  }

  async close(): Promise<void> {
    this.#read = this.#end = 0;
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}
