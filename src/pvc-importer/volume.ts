/** The volume that the pod's controller has attached: a block device, or a directory that gets a qcow2 file. */
import { stat, statfs, unlink } from "node:fs/promises";
import { join } from "node:path";

import type { PvcImporterConfig } from "../config/pvc-importer-config.ts";
import { diskTarget, PARTIAL, type DiskTarget } from "../disk/disk-target.ts";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import type { DiskFormat, FoundImage } from "../pipeline/export-disk.ts";

export interface Volume {
  readonly mode: "Block" | "Filesystem";
  readonly format: DiskFormat;
  readonly target: DiskTarget;
  /** What is known of the image before it is written. @throws DvcrError E_DISK_TOO_SMALL for what can never fit. */
  checkRoom(image: FoundImage): void;
  /** A failure in terms of the volume. */
  explain(error: unknown): DvcrError;
}

const FILE_NAME = "disk.img";
/** The machine that uses it runs as another user of the volume's group. */
const FILE_MODE = 0o660;

/** @throws DvcrError E_CONFIG where there is no volume, E_DISK_IO. */
export async function findVolume(config: PvcImporterConfig): Promise<Volume> {
  const { blockDevice, volumeDirectory } = config;
  if (await exists(blockDevice)) {
    return {
      mode: "Block",
      format: "raw",
      target: diskTarget(blockDevice, { force: false, seekable: false }),
      checkRoom: () => undefined,
      explain: toDvcrError,
    };
  }
  if (!(await exists(volumeDirectory)))
    throw new DvcrError(
      "E_CONFIG",
      `there is no volume, neither a device ${blockDevice} nor a directory ${volumeDirectory}`,
      {
        fix: "Attach the volume as one of them.",
      },
    );
  return await filesystemVolume(volumeDirectory);
}

async function filesystemVolume(directory: string): Promise<Volume> {
  const path = join(directory, FILE_NAME);
  // Nobody else writes to a volume that is being filled: what is there is of a try that was killed, and takes up room.
  for (const leftover of [path, path + PARTIAL]) await unlink(leftover).catch(() => undefined);
  const { bavail, bsize } = await statfs(directory);
  const room = bavail * bsize;
  return {
    mode: "Filesystem",
    format: "qcow2",
    target: diskTarget(path, { force: true, seekable: true, mode: FILE_MODE }),
    checkRoom: (image) => {
      const needed = leastData(image);
      if (needed > room)
        throw tooSmall(`${directory} has room for ${room} bytes and the disk needs at least ${needed}`);
    },
    explain: (thrown) => {
      const error = toDvcrError(thrown);
      // The volume is this disk's alone: nobody will ever make room on it.
      return error.code === "E_DISK_FULL"
        ? tooSmall(`${directory} had room for ${room} bytes: ${error.message}`)
        : error;
    },
  };
}

/**
 * Bytes that the file of a disk has at least, from the size of its compressed layer: no compression lets data grow by
 * more than half a percent, and zeros become no more than a 500th.
 */
function leastData({ format, virtualSize, source: { containerLayer, size } }: FoundImage): number {
  if (containerLayer?.isCompressed !== true || format !== "raw" || size === undefined || virtualSize === undefined)
    return 0;
  return Math.max(0, Math.floor((size - virtualSize / 500) / 1.005) - 2 ** 16);
}

const tooSmall = (message: string): DvcrError =>
  new DvcrError("E_DISK_TOO_SMALL", message, { fix: "Ask for a larger volume." });

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw new DvcrError("E_DISK_IO", `looking for the volume failed: ${String(error)}`, { cause: error });
    },
  );
