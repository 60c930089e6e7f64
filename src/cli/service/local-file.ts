/** A file to be sent, and how it is told from others. */
import { createHash } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { open, stat, type FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";

import { DvcrError } from "../../errors/dvcr-error.ts";

const footerBytes = 512;
const endBytes = 2 ** 20;

/** A file as it was found: its bytes are only given while it is still that. */
export class LocalFile {
  readonly size: number;
  /** In hex. The same only for this file as it is now: another file, or a change to this one, makes it another. */
  readonly identity: string;
  /** Where the file's end says so, `vpc`: a fixed VHD shows nowhere else. */
  readonly format: "vpc" | undefined;
  readonly #path: string;
  readonly #found: BigIntStats;

  private constructor(path: string, found: BigIntStats, identity: string, format: "vpc" | undefined) {
    this.size = Number(found.size);
    this.identity = identity;
    this.format = format;
    this.#path = path;
    this.#found = found;
  }

  /** @throws DvcrError E_USAGE for what is no file or cannot be read, E_EMPTY. */
  static async find(path: string): Promise<LocalFile> {
    const handle = await openFile(path);
    try {
      const found = await handle.stat({ bigint: true });
      if (found.size === 0n) throw new DvcrError("E_EMPTY", `${path} holds no data`);
      return new LocalFile(path, found, await identityOf(handle, found), await formatOf(handle, found));
    } finally {
      await handle.close();
    }
  }

  /**
   * Its bytes from `start` on. @throws DvcrError E_SOURCE_CHANGED where it was written to, or is another file by now.
   */
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

/** The footer of a VHD (specification 1.0, "Hard Disk Footer Format"): the cookie, and disk type 2 at byte 60. */
async function formatOf(handle: FileHandle, { size }: BigIntStats): Promise<"vpc" | undefined> {
  if (size <= footerBytes) return undefined;
  const footer = Buffer.alloc(footerBytes);
  await handle.read(footer, 0, footerBytes, Number(size) - footerBytes);
  return footer.toString("latin1", 0, 8) === "conectix" && footer.readUInt32BE(60) === 2 ? "vpc" : undefined;
}

/**
 * Without reading all of it, which takes minutes for a large disk. The times tell what the ends do not: two disks of
 * one make may differ in their middle alone. `ctime` is among them because no tool can set it.
 */
async function identityOf(handle: FileHandle, { size, mtimeNs, ctimeNs, ino }: BigIntStats): Promise<string> {
  const hash = createHash("sha256").update([size, mtimeNs, ctimeNs, ino].join(" "));
  for (const start of [0, Math.max(0, Number(size) - endBytes)]) {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(endBytes), 0, endBytes, start);
    hash.update(buffer.subarray(0, bytesRead));
  }
  return hash.digest("hex");
}
