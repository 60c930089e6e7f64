/** Where a disk is written to: a file, a block device, or standard output. */
import { constants } from "node:fs";
import { open, rename, stat, unlink, type FileHandle } from "node:fs/promises";
import { dirname, resolve } from "node:path";

import { DvcrError } from "../errors/dvcr-error.ts";

/** A destination that is open and not written yet. The core writes to `fd`. */
export interface OpenDisk {
  readonly kind: "file" | "device" | "pipe";
  readonly fd: number;
  /** Everything was written and checked: a file gets its name. @throws DvcrError E_DISK_IO. */
  commit(): Promise<void>;
  /** Bytes that the file takes up on its file system; nothing where that cannot be told. */
  allocatedBytes(): Promise<number | undefined>;
  /** Closes it; what was not committed is removed. */
  close(): Promise<void>;
}

export interface DiskTarget {
  /** For messages. */
  readonly description: string;
  /** @throws DvcrError E_DISK_EXISTS, E_DISK_BUSY, E_DISK_DENIED, E_DISK_IO, E_USAGE. */
  open(): Promise<OpenDisk>;
}

export interface DiskTargetOptions {
  /** Replace a file that exists. */
  readonly force: boolean;
  /** A file that can be written at any place is needed: a qcow2 image. */
  readonly seekable: boolean;
  /** Permissions of the file, whatever the umask is; 0660 without what the umask takes away, where nothing is given. */
  readonly mode?: number;
}

/** Ends the name of a file that is not whole yet. */
export const PARTIAL = ".partial";

/** The destination that `path` names; "-" is standard output. */
export function diskTarget(path: string, options: DiskTargetOptions): DiskTarget {
  if (path === "-") {
    if (options.seekable) throw new DvcrError("E_USAGE", "a qcow2 image cannot be written to standard output");
    return { description: "standard output", open: openStandardOutput };
  }
  return { description: resolve(path), open: () => openPath(path, options) };
}

async function openPath(path: string, options: DiskTargetOptions): Promise<OpenDisk> {
  const status = await stat(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw diskError(path, error);
  });
  if (status?.isBlockDevice() === true) {
    if (options.seekable) throw new DvcrError("E_USAGE", `${path} is a block device: it takes a raw disk only`);
    return await openDevice(path);
  }
  if (status !== undefined && !status.isFile())
    throw new DvcrError("E_USAGE", `${path} is neither a file nor a block device`);
  if (status !== undefined && !options.force) throw new DvcrError("E_DISK_EXISTS", `${path} exists`);
  return await PartialFile.create(path, options.mode);
}

/** Exclusively: the kernel refuses it while the device is mounted, or part of something that is (O_EXCL). */
async function openDevice(path: string): Promise<OpenDisk> {
  const handle = await open(path, constants.O_RDWR | constants.O_EXCL).catch((error: unknown) => {
    throw diskError(path, error);
  });
  return {
    kind: "device",
    fd: handle.fd,
    commit: () => Promise.resolve(),
    allocatedBytes: () => Promise.resolve(undefined),
    close: () => handle.close(),
  };
}

/** A description of its own that does not block, so that a reader who takes nothing holds up nobody. */
async function openStandardOutput(): Promise<OpenDisk> {
  const own = await open("/proc/self/fd/1", constants.O_WRONLY | constants.O_NONBLOCK).catch(() => undefined);
  const isPipe = own !== undefined && (await own.stat()).isFIFO();
  // Of a regular file it would have a position of its own, and a socket cannot be opened.
  if (!isPipe) await own?.close();
  return {
    kind: "pipe",
    fd: isPipe ? own.fd : 1,
    commit: () => Promise.resolve(),
    allocatedBytes: () => Promise.resolve(undefined),
    close: async () => {
      if (isPipe) await own.close();
    },
  };
}

/** A file under another name until it is whole. */
class PartialFile implements OpenDisk {
  readonly kind = "file";
  readonly #path: string;
  readonly #handle: FileHandle;
  #committed = false;

  private constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  static async create(path: string, mode: number | undefined): Promise<PartialFile> {
    // What a try that was killed has left is not built upon.
    await unlink(path + PARTIAL).catch(() => undefined);
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
    const handle = await open(path + PARTIAL, flags, 0o660).catch((error: unknown) => {
      throw diskError(path, error);
    });
    if (mode !== undefined) await handle.chmod(mode);
    return new PartialFile(path, handle);
  }

  get fd(): number {
    return this.#handle.fd;
  }

  async commit(): Promise<void> {
    try {
      await rename(this.#path + PARTIAL, this.#path);
      this.#committed = true;
      const directory = await open(dirname(this.#path));
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    } catch (error) {
      throw diskError(this.#path, error);
    }
  }

  async allocatedBytes(): Promise<number> {
    const { blocks } = await this.#handle.stat();
    return blocks * 512;
  }

  async close(): Promise<void> {
    await this.#handle.close();
    if (!this.#committed) await unlink(this.#path + PARTIAL).catch(() => undefined);
  }
}

function diskError(path: string, error: unknown): DvcrError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  switch (code) {
    case "EBUSY":
      return new DvcrError("E_DISK_BUSY", `${path} is in use: it is mounted, or held by something else`, {
        cause: error,
      });
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new DvcrError("E_DISK_DENIED", `${path} may not be written (${code})`, { cause: error });
    case "ENOSPC":
    case "EDQUOT":
      return new DvcrError("E_DISK_FULL", `there is no room for ${path}`, { cause: error });
    default:
      return new DvcrError("E_DISK_IO", `opening ${path} failed: ${code}`, { cause: error });
  }
}
