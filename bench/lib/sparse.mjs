/** Raw disks with holes: where their data is, and SHA-256 over all of their bytes. */
import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";

import { capture, Stop } from "../../scripts/lib/process.mjs";

const MiB = 2 ** 20;
const zeros = Buffer.alloc(MiB);

/** The ranges `{start, length}` of a raw file that hold data, by the file system. */
export async function extentsOf(path) {
  const { code, stdout, stderr } = await capture("qemu-img", ["map", "-f", "raw", "--output=json", path]);
  if (code !== 0) throw new Stop(`qemu-img map: ${stderr}`);
  return JSON.parse(stdout)
    .filter((one) => one.data && !one.zero)
    .map(({ start, length }) => ({ start, length }));
}

/**
 * SHA-256 of the raw disk `path`; what the file `extents` does not list is zeros and is hashed from one buffer without
 * being read, which is all that a program without decoding, copying or sending could do. `size` is where the disk is
 * longer than the file.
 */
export function hashDisk(path, extents, size = 0) {
  const hash = createHash("sha256");
  const file = openSync(path, "r");
  try {
    const virtualSize = Math.max(size, fstatSync(file).size);
    const buffer = Buffer.allocUnsafe(MiB);
    let at = 0;
    const zerosUpTo = (end) => {
      for (; at < end; at += Math.min(MiB, end - at)) hash.update(end - at < MiB ? zeros.subarray(0, end - at) : zeros);
    };
    for (const { start, length } of JSON.parse(readFileSync(extents, "utf8"))) {
      zerosUpTo(start);
      for (const end = start + length; at < end;) {
        const read = readSync(file, buffer, 0, Math.min(MiB, end - at), at);
        hash.update(buffer.subarray(0, read));
        at += read;
      }
    }
    zerosUpTo(virtualSize);
    return { virtualSize, sha256: hash.digest("hex") };
  } finally {
    closeSync(file);
  }
}
