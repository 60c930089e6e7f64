import { copyFile, lstat, mkdir, opendir, readlink, rm, symlink } from "node:fs/promises";
import { join, relative } from "node:path";

const MiB = 2 ** 20;
const sectorSize = 512;
const partitionStart = 1 * MiB;
/** The last MiB stays free for the second partition table. */
const partitionEnd = 1 * MiB;
/** Programs, libraries and texts: what a system disk holds, some of it compressible and some not. */
const demoContents = [
  { directory: "/usr/lib", bytes: 250 * MiB },
  { directory: "/usr/bin", bytes: 100 * MiB },
  { directory: "/usr/share", bytes: 100 * MiB },
];

/**
 * Builds a system disk as a distribution would ship it, a zlib-compressed qcow2 of 4 GiB, from this machine's own
 * files.
 * @returns the bytes of the files on it.
 */
export async function buildDisk(path, workshop) {
  const raw = workshop.path("built.raw");
  const bytes = await buildRawDisk(raw, { virtualSize: 4096 * MiB, contents: demoContents }, workshop);
  await workshop.run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", "-c", raw, path]);
  await rm(raw);
  return bytes;
}

/**
 * Builds a sparse raw disk: a GPT with one ext4 partition that holds files of `contents`, each `{directory, bytes}`.
 * Nothing is mounted, so it needs no root.
 * @returns the bytes of the files on it.
 */
export async function buildRawDisk(path, { virtualSize, contents }, workshop) {
  const tree = workshop.path("tree");
  const bytes = await copyTrees(contents, tree, workshop.signal);
  const partitionSize = virtualSize - partitionStart - partitionEnd;
  await workshop.run("truncate", ["-s", String(virtualSize), path]);
  const table =
    `label: gpt\nstart=${partitionStart / sectorSize}, size=${partitionSize / sectorSize}, ` +
    "type=linux, name=root\n";
  await workshop.run("sfdisk", ["--quiet", path], { input: table });
  const options = ["-q", "-F", "-t", "ext4", "-L", "demo", "-m", "1", "-E", `offset=${partitionStart}`, "-d", tree];
  await workshop.run("mke2fs", [...options, path, `${partitionSize / 1024}k`]);
  // What the disk was built from is not needed any more, and what comes needs the room.
  await rm(tree, { recursive: true });
  return bytes;
}

/** Copies files below each directory of `contents` to the same places under `to`; returns their bytes. */
export async function copyTrees(contents, to, signal) {
  let bytes = 0;
  for (const part of contents) bytes += await copyTree(part.directory, to, part.bytes, signal);
  return bytes;
}

/** The last files to fill a budget exactly are not worth a walk through all directories. */
const nearly = 0.98;

/**
 * Copies files below `from` to the same place under `to` until nearly `budget` bytes are reached; skips what may not be
 * read.
 */
async function copyTree(from, to, budget, signal) {
  let bytes = 0;
  const queue = [from];
  for (let directory = queue.shift(); directory !== undefined && bytes < nearly * budget; directory = queue.shift()) {
    signal.throwIfAborted();
    const target = join(to, relative("/", directory));
    await mkdir(target, { recursive: true });
    for await (const entry of await opendir(directory).catch(() => [])) {
      const source = join(directory, entry.name);
      if (entry.isDirectory()) queue.push(source);
      else if (bytes < budget) bytes += await copyEntry(source, join(target, entry.name), budget - bytes);
    }
  }
  return bytes;
}

/** Copies one file or link; returns the bytes it brought. */
async function copyEntry(source, target, room) {
  try {
    const info = await lstat(source);
    if (info.isSymbolicLink()) await symlink(await readlink(source), target);
    if (!info.isFile() || info.size > room) return 0;
    await copyFile(source, target);
    return info.size;
  } catch (error) {
    // Files of other users and files that vanish meanwhile are simply not on the disk; a full disk is an error.
    if (["EACCES", "EPERM", "ENOENT"].includes(error.code)) return 0;
    throw error;
  }
}
