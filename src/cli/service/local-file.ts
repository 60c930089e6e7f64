/** A file to be sent, and how it is told from others. */
import { createHash } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { open, stat, type FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";

import { DvcrError } from "../../errors/dvcr-error.ts";

const endBytes = 2 ** 20;

/** A file as it was found: its bytes are only given while it is still that. */
export class LocalFile {
  readonly size: number;
  /** In hex. The same only for this file as it is now: another file, or a change to this one, makes it another. */
  readonly identity: string;
  readonly #path: string;
  readonly #found: BigIntStats;

  private constructor(path: string, found: BigIntStats, identity: string) {
    this.size = Number(found.size);
    this.identity = identity;
    this.#path = path;
    this.#found = found;
  }

  /** @throws DvcrError E_USAGE for what is no file or cannot be read, E_EMPTY. */
  static async find(path: string): Promise<LocalFile> {
    const handle = await openFile(path);
    try {
      const found = await handle.stat({ bigint: true });
      if (found.size === 0n) throw new DvcrError("E_EMPTY", `${path} holds no data`);
      return new LocalFile(path, found, await identityOf(handle, found));
    } finally {
      await handle.close();
    }
  }

  /** Its bytes from `start` on. @throws DvcrError E_SOURCE_CHANGED where it was written to, or is another file by now. */
  async read(start: number): Promise<Readable> {
    const handle = await openFile(this.#path);
    const { size, mtimeNs, ino } = await handle.stat({ bigint: true });
    if (size !== this.#found.size || mtimeNs !== this.#found.mtimeNs || ino !== this.#found.ino) {
      await handle.close();
      throw new DvcrError("E_SOURCE_CHANGED", `${this.#path} was changed while it was sent`, {
        fix: "Send it again; it begins at its first byte.",
      });
    }
    return handle.createReadStream({ start, end: this.size - 1, highWaterMark: 1 << 20 });
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    // Opening a pipe would wait for its writer.
    if (!(await stat(path)).isFile()) throw new DvcrError("E_USAGE", `${path} is not a file`);
    return await open(path);
  } catch (error) {
    if (error instanceof DvcrError) throw error;
    throw new DvcrError("E_USAGE", `${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? ""})`);
  }
}

/**
 * Without reading all of it, which takes minutes for a large disk. The times tell what the ends do not: two disks of one
 * make may differ in their middle alone. `ctime` is among them because no tool can set it.
 */
async function identityOf(handle: FileHandle, { size, mtimeNs, ctimeNs, ino }: BigIntStats): Promise<string> {
  const hash = createHash("sha256").update([size, mtimeNs, ctimeNs, ino].join(" "));
  for (const start of [0, Math.max(0, Number(size) - endBytes)]) {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(endBytes), 0, endBytes, start);
    hash.update(buffer.subarray(0, bytesRead));
  }
  return hash.digest("hex");
}
