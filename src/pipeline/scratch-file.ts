/** Files of scratch: without a name, read and written at places. */
import { randomBytes } from "node:crypto";
import { open, unlink, type FileHandle } from "node:fs/promises";
import { join } from "node:path";

import { DvcrError } from "../errors/dvcr-error.ts";

/** What a scratch file may know of the scratch space of its import. */
export interface ScratchRoom {
  readonly directory: string;
  /** Most bytes in all scratch files of the import. */
  readonly limit: number;
  /** Bytes in scratch after `bytes` were added, and bytes to leave free for what the core adds until the next look. */
  after(bytes: number): { readonly total: number; readonly coreAhead: number };
  /** Notes that scratch has grown to `total` bytes. */
  grewTo(total: number): void;
}

const READ_BYTES = 1 << 20;

/** `length` bytes from `offset`, a MiB at a time. Throws E_SCRATCH_IO where the file ends before. */
export async function* readPieces(
  file: FileHandle | undefined,
  offset: number,
  length: number,
): AsyncGenerator<Uint8Array> {
  const end = offset + length;
  for (let at = offset; at < end;) {
    const piece = Buffer.allocUnsafe(Math.min(READ_BYTES, end - at));
    const { bytesRead } = (await file?.read(piece, 0, piece.length, at)) ?? { bytesRead: 0 };
    if (bytesRead === 0) throw new DvcrError("E_SCRATCH_IO", `a scratch file ends early at byte ${String(at)}`);
    at += bytesRead;
    yield piece.subarray(0, bytesRead);
  }
}

/** A file of scratch that has no name any more. */
export async function openUnlinked(directory: string): Promise<FileHandle> {
  const path = join(directory, `.dvcr-layer-${randomBytes(8).toString("hex")}`);
  const file = await open(path, "wx+", 0o600);
  try {
    await unlink(path);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Writes `chunks` one after the other from `position`. The kernel may take less than it was given, on a disk that is
 * nearly full for one.
 */
export async function writeFully(file: FileHandle, chunks: readonly Uint8Array[], position: number): Promise<void> {
  let at = position;
  for (const chunk of chunks) {
    for (let done = 0; done < chunk.byteLength;) {
      const { bytesWritten } = await file.write(chunk, done, chunk.byteLength - done, at + done);
      done += bytesWritten;
    }
    at += chunk.byteLength;
  }
}
