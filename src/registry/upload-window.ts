/** The part of a layer that is in memory: its writers' chunks, one after the other, each until it is released. */
import type { DvcrError } from "../errors/dvcr-error.ts";

interface Part {
  readonly start: number;
  bytes: Uint8Array;
  /** The writer's promise; nothing for bytes that no writer waits for any more. */
  writer: Writer | undefined;
}

interface Writer {
  readonly resolve: () => void;
  readonly reject: (error: DvcrError) => void;
}

/** Chunks taken out of the window, with those who wait for them. */
export interface Removed {
  readonly chunks: readonly Uint8Array[];
  readonly parts: readonly { readonly bytes: Uint8Array; readonly writer: Writer | undefined }[];
}

/** Offsets are bytes from the layer's first. No bytes are copied, except by own(). */
export class UploadWindow {
  #parts: Part[] = [];
  #start = 0;
  #end = 0;

  /** Offset of the first byte in hand. */
  get start(): number {
    return this.#start;
  }

  /** Offset behind the last byte in hand. */
  get end(): number {
    return this.#end;
  }

  /** Chunks in hand. */
  get count(): number {
    return this.#parts.length;
  }

  /** Adds a chunk; resolves when it was released. */
  add(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => this.#push(bytes, { resolve, reject }));
  }

  /** Adds a chunk that nobody waits for. */
  addOwn(bytes: Uint8Array): void {
    this.#push(bytes, undefined);
  }

  /** Releases the chunks that end at or before `offset`. True where there was one. */
  release(offset: number): boolean {
    let count = 0;
    for (const { start, bytes, writer } of this.#parts) {
      const end = start + bytes.byteLength;
      if (end > offset) break;
      writer?.resolve();
      this.#start = end;
      count += 1;
    }
    this.#parts.splice(0, count);
    return count > 0;
  }

  /**
   * Where the newest chunks begin of which there are at most `count` and, unless there is one, `bytes` before `offset`.
   */
  newest(offset: number, count: number, bytes: number): number {
    let found = offset;
    let left = count;
    for (let index = this.#parts.length - 1; index >= 0 && left > 0; index -= 1) {
      const { start } = this.#parts[index]!;
      if (start >= offset) continue;
      if (offset - start > bytes && found !== offset) break;
      found = start;
      left -= 1;
    }
    return found;
  }

  /** The bytes from `offset` to the end of their chunk; nothing where `offset` is not in hand. */
  view(offset: number): Uint8Array | undefined {
    if (offset < this.#start || offset >= this.#end) return undefined;
    const part = this.#parts[this.#indexAt(offset)]!;
    return offset === part.start ? part.bytes : part.bytes.subarray(offset - part.start);
  }

  /** The whole chunks that begin at `offset`, where one does, and behind it, but before `end`. */
  chunksBetween(offset: number, end: number): Uint8Array[] {
    return this.#parts.filter(({ start }) => start >= offset && start < end).map(({ bytes }) => bytes);
  }

  /** Offset behind the `count`-th chunk from `offset` on, or the end. */
  endOf(offset: number, count: number): number {
    let left = count;
    for (const { start, bytes } of this.#parts) {
      if (start + bytes.byteLength <= offset) continue;
      left -= 1;
      if (left === 0) return start + bytes.byteLength;
    }
    return this.#end;
  }

  /** Copies all that is in hand, so that its writers have their chunks back and can go on. */
  own(): void {
    for (const part of this.#parts) {
      if (part.writer === undefined) continue;
      part.bytes = Buffer.from(part.bytes);
      part.writer.resolve();
      part.writer = undefined;
    }
  }

  /** Takes out the chunks that begin at or behind `offset`. */
  remove(offset: number): Removed {
    const index = this.#parts.findIndex(({ start }) => start >= offset);
    const parts = index < 0 ? [] : this.#parts.splice(index);
    this.#end = parts[0]?.start ?? this.#end;
    return { parts, chunks: parts.map(({ bytes }) => bytes) };
  }

  /** Puts back what remove() took out. */
  restore({ parts }: Removed): void {
    for (const { bytes, writer } of parts) this.#push(bytes, writer);
  }

  /** Tells everyone who waits. */
  reject(error: DvcrError): void {
    for (const part of this.#parts) {
      part.writer?.reject(error);
      part.writer = undefined;
    }
  }

  /** Index of the chunk that holds the byte at `offset`, which is in hand. */
  #indexAt(offset: number): number {
    let low = 0;
    let high = this.#parts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#parts[middle]!.start <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #push(bytes: Uint8Array, writer: Writer | undefined): void {
    this.#parts.push({ start: this.#end, bytes, writer });
    this.#end += bytes.byteLength;
  }
}

/** Tells the writers of removed chunks. */
export function resolveRemoved({ parts }: Removed): void {
  for (const { writer } of parts) writer?.resolve();
}
