/** The layer on its way into an OCI layout: a temporary file that becomes a blob when it is whole. */
import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rmdir, stat, unlink, type FileHandle } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import { throwIfCancelled } from "../retry/cancel.ts";
import type { LayerUpload } from "../layer/layer-upload.ts";

/** Path of a blob inside a layout. */
export function blobPath(directory: string, digest: string): string {
  return join(directory, "blobs", "sha256", digest.slice("sha256:".length));
}

/** A file system's error as E_LAYOUT_IO with its reason; our own errors stay what they are. */
export function layoutError(directory: string, error: unknown): DvcrError {
  if (error instanceof DvcrError) return error;
  const reason = (error as NodeJS.ErrnoException).code;
  return new DvcrError("E_LAYOUT_IO", `OCI layout "${directory}": ${reason ?? toDvcrError(error).message}`, {
    cause: error,
  });
}

/** Makes renames and new files in a directory survive a power cut. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export class OciLayerUpload implements LayerUpload {
  readonly #directory: string;
  readonly #signal: AbortSignal;
  readonly #temporary: string;
  readonly #file: FileHandle;
  /** The topmost directory that did not exist before, removed again by abort() where nothing else came into it. */
  readonly #firstCreated: string | undefined;
  readonly #writes = new Set<Promise<void>>();
  #size = 0;
  #failure: DvcrError | undefined;
  #ended = false;

  private constructor(
    directory: string,
    signal: AbortSignal,
    temporary: string,
    file: FileHandle,
    firstCreated: string | undefined,
  ) {
    this.#directory = directory;
    this.#signal = signal;
    this.#temporary = temporary;
    this.#file = file;
    this.#firstCreated = firstCreated;
  }

  /** Creates the directory where needed and the temporary file in it. @throws DvcrError E_LAYOUT_IO. */
  static async begin(directory: string, signal: AbortSignal): Promise<OciLayerUpload> {
    throwIfCancelled(signal);
    let firstCreated: string | undefined;
    try {
      firstCreated = await mkdir(resolve(directory), { recursive: true });
      const temporary = join(directory, `.dvcr-${randomBytes(8).toString("hex")}.part`);
      return new OciLayerUpload(directory, signal, temporary, await open(temporary, "wx", 0o644), firstCreated);
    } catch (error) {
      await removeCreated(directory, firstCreated);
      throw layoutError(directory, error);
    }
  }

  write(chunk: Uint8Array): Promise<void> {
    const position = this.#size;
    this.#size += chunk.byteLength;
    const writing = this.#writeAt(chunk, position).finally(() => this.#writes.delete(writing));
    this.#writes.add(writing);
    return writing;
  }

  async commit(digest: string, size: number): Promise<void> {
    await Promise.all(this.#writes);
    this.#check();
    if (this.#size !== size) {
      throw new DvcrError("E_INTERNAL", `the layer has ${String(this.#size)} bytes in the layout, not ${String(size)}`);
    }
    const blob = blobPath(this.#directory, digest);
    try {
      await mkdir(dirname(blob), { recursive: true });
      const known = await stat(blob).catch(() => undefined);
      if (known?.size === size) {
        await this.#drop();
      } else {
        await this.#file.sync();
        await this.#file.close();
        await rename(this.#temporary, blob);
        await syncDirectory(dirname(blob));
      }
      this.#ended = true;
    } catch (error) {
      throw layoutError(this.#directory, error);
    }
  }

  async abort(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure ??= new DvcrError("E_CANCELLED", "the layer was dropped");
    await Promise.allSettled(this.#writes);
    await this.#drop().catch(() => {});
    await removeCreated(this.#directory, this.#firstCreated);
  }

  async #writeAt(chunk: Uint8Array, position: number): Promise<void> {
    this.#check();
    try {
      for (let done = 0; done < chunk.byteLength;) {
        const { bytesWritten } = await this.#file.write(chunk, done, chunk.byteLength - done, position + done);
        done += bytesWritten;
      }
    } catch (error) {
      this.#failure ??= layoutError(this.#directory, error);
      throw this.#failure;
    }
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    throwIfCancelled(this.#signal);
  }

  async #drop(): Promise<void> {
    await this.#file.close();
    await unlink(this.#temporary);
  }
}

/** Removes empty directories from `directory` up to the first one that was created for it. */
async function removeCreated(directory: string, firstCreated: string | undefined): Promise<void> {
  if (firstCreated === undefined) return;
  for (let path = resolve(directory); path.startsWith(firstCreated); path = dirname(path)) {
    try {
      await rmdir(path);
    } catch {
      return;
    }
  }
}
