/** The tar bytes around the disk: what stands before its first byte and after its last. */
import { pack } from "tar-stream";

export interface TarFrame {
  /** Headers of `disk` and `disk/disk.img`, 1024 bytes whatever the size. */
  readonly head: Uint8Array;
  /** Zeros up to the next multiple of 512, then the two zero blocks that end an archive. */
  readonly tail: Uint8Array;
}

const blockSize = 512;
const headSize = 2 * blockSize;

/** The user that containers with disks run as; the file must be readable by it even without "others". */
const owner = { uid: 64535, gid: 64535, mtime: new Date(0) };

/**
 * Frames a disk of `size` bytes as a ustar archive with the two entries `disk` (0755) and `disk/disk.img` (0644).
 *
 * tar-stream writes the directory's name without a slash and marks it by type flag 5. Go's archive/tar (containerd,
 * umoci, skopeo's users) and mkfs.erofs go by the flag, and images made so far carry the name in this form too. A size
 * of 8 GiB or more is written base-256 into the same field, which both read, so that no PAX header is needed and the
 * head has one length. There is never a sparse entry: containerd and mkfs.erofs do not expand them.
 */
export async function tarFrame(size: number): Promise<TarFrame> {
  const archive = pack();
  archive.entry({ ...owner, name: "disk", type: "directory", mode: 0o755 });
  const file = archive.entry({ ...owner, name: "disk/disk.img", type: "file", mode: 0o644, size });
  // The archive is left after its headers, which tar-stream rightly calls an error of the entry.
  file.on("error", () => {});
  const head = await readHead(archive);
  const padding = (blockSize - (size % blockSize)) % blockSize;
  return { head, tail: new Uint8Array(padding + 2 * blockSize) };
}

async function readHead(archive: AsyncIterable<unknown>): Promise<Uint8Array> {
  const blocks: Uint8Array[] = [];
  let length = 0;
  for await (const block of archive) {
    blocks.push(block as Uint8Array);
    length += (block as Uint8Array).byteLength;
    if (length >= headSize) break;
  }
  return Buffer.concat(blocks);
}
