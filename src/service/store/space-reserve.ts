/**
 * A file that keeps disk space back. When the disk is full it is given up, so that what frees space (deleting
 * resources, collecting garbage) has the room to be written down; it is filled again once there is room for it.
 */
import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, ftruncateSync, openSync, rmSync, statfsSync, statSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";

const mebi = 2 ** 20;
const most = 16 * mebi;
const least = mebi;
/** Of the whole disk, where that is less than `most`. */
const share = 0.05;
/** Less than this is no room for SQLite's log and a new index of the images. */
const tooLittle = mebi / 4;

export class SpaceReserve {
  /** Bytes that it keeps back. */
  readonly bytes: number;
  readonly #path: string;

  private constructor(path: string, bytes: number) {
    this.#path = path;
    this.bytes = bytes;
  }

  /** Opens the reserve of a data directory and fills it where there is room; on a full disk it is given up instead. */
  static open(directory: string): SpaceReserve {
    const { blocks, bsize } = statfsSync(directory);
    const reserve = new SpaceReserve(
      join(directory, "reserve"),
      Math.round(Math.min(most, Math.max(least, blocks * bsize * share))),
    );
    if (freeBytes(directory) < tooLittle) reserve.release();
    else reserve.hold();
    return reserve;
  }

  /** True while the space is kept back; fills the file again where the disk has room for it and as much besides. */
  hold(): boolean {
    if (this.#size() >= this.bytes) return true;
    if (freeBytes(dirname(this.#path)) + this.#size() < 2 * this.bytes) return false;
    try {
      this.#fill();
      return true;
    } catch {
      // Somebody else was faster: what there is now is not half a reserve.
      this.release();
      return false;
    }
  }

  /** True where something new may be stored: the space is kept back, and the disk has some besides. */
  hasRoom(): boolean {
    return this.hold() && freeBytes(dirname(this.#path)) >= tooLittle;
  }

  /** Gives the space up; false where there was none to give. */
  release(): boolean {
    const held = this.#size() > 0;
    rmSync(this.#path, { force: true });
    return held;
  }

  /** Runs `work`, and once more with the reserve given up where the disk was full. */
  async whenFull<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!isDiskFull(error) || !this.release()) throw error;
      return work();
    }
  }

  #size(): number {
    return statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0;
  }

  #fill(): void {
    const file = openSync(this.#path, "w", 0o600);
    try {
      // No zeros: some file systems would store a hole.
      const part = randomBytes(mebi);
      for (let left = this.bytes; left > 0; left -= part.length) writeAll(file, part.subarray(0, left));
      fsyncSync(file);
    } catch (error) {
      ftruncateSync(file);
      throw error;
    } finally {
      closeSync(file);
    }
  }
}

/** Bytes that an ordinary user may still write below `directory`. */
export function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}

/** True for an error that says that the disk, or its owner's quota on it, is used up; also where that is the cause. */
export function isDiskFull(error: unknown): boolean {
  for (let one = error; one instanceof Error; one = one.cause) {
    const { code } = one as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EDQUOT" || code === "E_STORE_FULL") return true;
  }
  return false;
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
}
