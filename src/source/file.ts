import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { resolve } from "node:path";

import { DvcrError } from "../errors/dvcr-error.ts";
import type { OpenSource, Source } from "./source.ts";

/** A disk image file, or a block device, whose bytes are then the disk's own. Read by the core from its descriptor. */
export function fileSource(path: string): Source {
  return {
    description: resolve(path),
    replayable: true,
    refetchable: true,
    open: () => openFile(path),
  };
}

async function openFile(path: string): Promise<OpenSource> {
  const handle = await open(path, constants.O_RDONLY).catch((error: unknown) => {
    throw fileError(path, error);
  });
  try {
    const stats = await handle.stat();
    if (stats.isBlockDevice()) {
      return { fd: handle.fd, size: await deviceSize(handle), isDisk: true, close: () => handle.close() };
    }
    if (!stats.isFile()) throw new DvcrError("E_USAGE", `${path} is neither a file nor a block device`);
    return { fd: handle.fd, size: stats.size, close: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Node has no seek: the end of a device is found by probing where reads begin to give nothing. */
async function deviceSize(handle: {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
}): Promise<number> {
  const probe = new Uint8Array(1);
  const readable = async (position: number) => (await handle.read(probe, 0, 1, position)).bytesRead === 1;
  let low = 0;
  let high = 1 << 20;
  while (await readable(high - 1)) {
    low = high;
    high *= 2;
  }
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await readable(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function fileError(path: string, error: unknown): DvcrError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOENT" || code === "ENOTDIR")
    return new DvcrError("E_SOURCE_NOT_FOUND", `${path} does not exist`, { cause: error });
  if (code === "EACCES" || code === "EPERM")
    return new DvcrError("E_SOURCE_DENIED", `${path} may not be read`, { cause: error });
  return new DvcrError("E_SOURCE_IO", `opening ${path} failed: ${code ?? String(error)}`, { cause: error });
}
