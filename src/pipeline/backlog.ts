import type { FileHandle } from "node:fs/promises";

import type { LayerBacklog } from "../destination/destination.ts";
import type { ScratchRoom } from "./kept-layer.ts";
import { openUnlinked, readPieces, writeFully } from "./scratch-file.ts";

/** Layer bytes that the destination cannot take for now, in an unlinked file, first in first out. */
export class Backlog implements LayerBacklog {
  readonly #room: Omit<ScratchRoom, "onDropped">;
  #file: FileHandle | undefined;
  #read = 0;
  #end = 0;
  #peak = 0;

  constructor(room: Omit<ScratchRoom, "onDropped">) {
    this.#room = room;
  }

  get size(): number {
    return this.#end - this.#read;
  }

  /** Most bytes in scratch, those of others included, at any time something was added here. */
  get peak(): number {
    return this.#peak;
  }

  async append(chunks: readonly Uint8Array[]): Promise<boolean> {
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    // The file is as long as what was added since it was last empty.
    const total = this.#room.coreBytes() + this.#end + bytes;
    if (total > this.#room.limit) return false;
    try {
      this.#file ??= await openUnlinked(this.#room.directory);
      await writeFully(this.#file, chunks, this.#end);
    } catch {
      // What the file got of these lies behind the end and is written over.
      return false;
    }
    this.#end += bytes;
    this.#peak = Math.max(this.#peak, total);
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
