/** Loop devices and small file systems for tests, which run as root. */
import { mkdir } from "node:fs/promises";

import { tool } from "./tools.ts";

/** Runs `use` with a loop device of a file; `flags` for losetup. */
export async function withLoopDevice<T>(
  file: string,
  use: (device: string) => Promise<T>,
  ...flags: string[]
): Promise<T> {
  const device = (await tool("losetup", "--find", "--show", ...flags, file)).trim();
  try {
    return await use(device);
  } finally {
    await tool("losetup", "--detach", device);
  }
}

/** Runs `use` with a tmpfs of `megabytes` at `directory`, mounted with further `options`. */
export async function withSmallVolume<T>(
  directory: string,
  megabytes: number,
  use: () => Promise<T>,
  options = "rw",
): Promise<T> {
  await mkdir(directory, { recursive: true });
  await tool("mount", "-t", "tmpfs", "-o", `size=${megabytes}m,${options}`, "tmpfs", directory);
  try {
    return await use();
  } finally {
    await tool("umount", directory);
  }
}
