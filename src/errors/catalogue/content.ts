/** Errors of compression, size and checksums. */
import { refused, retry, type ErrorEntry } from "./entry.ts";

export const contentErrors = {
  E_CORRUPT_COMPRESSION: refused(
    422,
    "The compressed data is damaged",
    "Test it with `gzip -t`, `xz -t`, `zstd -t` or `bzip2 -t`, or fetch it again.",
  ),
  E_TRAILING_DATA: refused(
    422,
    "There is data after the end of the compressed stream or of the image",
    "Cut it off, or unpack the file first.",
  ),
  E_NESTED_COMPRESSION: refused(422, "The file is compressed too many times", "Unpack it first; two layers are read."),
  E_DECODER_MEMORY: refused(
    422,
    "Unpacking needs more memory than allowed",
    "Compress it again with a smaller window, for example `xz -6` or `zstd -19` without " +
      "--long, or raise --max-decoder-memory (pods: DVCR_MAX_DECODER_MEMORY).",
  ),
  E_TOO_LARGE: refused(
    413,
    "The disk is larger than allowed",
    "Raise the limit if you mean it: --max-virtual-size, or maxVirtualSize in the configuration of the images service.",
  ),
  E_METADATA_LIMIT: refused(
    422,
    "The image needs more memory for its tables than allowed",
    "Rewrite it with larger clusters: `qemu-img convert -O qcow2 -o cluster_size=64k IN OUT`.",
  ),
  E_SIZE_MISMATCH: refused(422, "The data is not as long as was declared", "Fetch or export the image again."),
  E_SCRATCH_LIMIT: refused(
    507,
    "The image's order needs more scratch space than allowed",
    "Raise --scratch-limit (pods: DVCR_SCRATCH_LIMIT), or rewrite the image in order with `qemu-img convert`.",
  ),
  E_SCRATCH_IO: retry(
    507,
    "Writing scratch space failed",
    "Free space in the directory of --scratch-dir (pods: DVCR_SCRATCH_DIR), or name another one.",
  ),
  E_CHECKSUM_MISMATCH: refused(
    422,
    "The checksum is wrong",
    "Fetch the file again, or correct the checksum; it is taken over the bytes as sent, before unpacking.",
  ),
} as const satisfies Record<string, ErrorEntry>;
