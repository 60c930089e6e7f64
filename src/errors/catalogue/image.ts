/** Errors of the disk image and its format. */
import { refused, type ErrorEntry } from "./entry.ts";

export const imageErrors = {
  E_EMPTY: refused(
    422,
    "The source holds no data",
    "Check that the file or URL is the right one and was fully written.",
  ),
  E_TRUNCATED: refused(
    422,
    "The data ends before the image does",
    "Fetch or export the image again and compare its size and checksum with the publisher's.",
  ),
  E_UNSUPPORTED_FORMAT: refused(
    415,
    "This kind of file is not a disk image we can store",
    "Convert it first, for example with `qemu-img convert -O qcow2 IN OUT`.",
  ),
  E_NOT_A_DISK: refused(
    415,
    "The file is no disk image",
    "Check the path or URL. --src-format raw (pods: DVCR_SOURCE_FORMAT=raw) stores it as it is.",
  ),
  E_UNSUPPORTED_FEATURE: refused(
    422,
    "The image, or what it is packed in, uses a feature we do not support",
    "Rewrite the image with `qemu-img convert -O qcow2 IN OUT`; pack an archive or an xz file " +
      "again with plain options.",
  ),
  E_FORMAT_MISMATCH: refused(
    422,
    "The content is not of the declared format",
    "Correct or drop --src-format (pods: DVCR_SOURCE_FORMAT; uploads: DVCR-Source-Format).",
  ),
  E_AMBIGUOUS: refused(
    422,
    "The content can be read as two formats",
    "Convert it again from its origin: no honest tool writes that. --src-format raw (pods: " +
      "DVCR_SOURCE_FORMAT=raw) stores it as it is.",
  ),
  E_CORRUPT_IMAGE: refused(422, "The image's metadata is damaged", "Run `qemu-img check` on it, or fetch it again."),
  E_CORRUPT_CLUSTER: refused(
    422,
    "A compressed cluster or grain of the image is damaged",
    "Run `qemu-img check` on it, or fetch it again.",
  ),
  E_ALIAS: refused(
    422,
    "The image uses one place of its file twice",
    "No honest tool writes that. Rewrite the image with `qemu-img convert` where you trust it.",
  ),
  E_OVERLAP: refused(
    422,
    "The image's tables and data overlap",
    "No honest tool writes that. Rewrite the image with `qemu-img convert` where you trust it.",
  ),
  E_DIRTY: refused(
    422,
    "The image was not closed cleanly and its log must be replayed",
    "Open and close it with the tool that wrote it, or run `qemu-img check -r all`.",
  ),
  E_BACKING_FILE: refused(
    422,
    "The image needs a backing file or parent",
    "Flatten it: `qemu-img convert -O qcow2 IN OUT` where the backing file is.",
  ),
  E_EXTERNAL_DATA: refused(
    422,
    "The image keeps its data in another file",
    "Make it one file: `qemu-img convert -O qcow2 IN OUT`.",
  ),
  E_MULTI_FILE: refused(
    422,
    "The image consists of several files",
    "Make it one file: `qemu-img convert -O qcow2 IN OUT`.",
  ),
  E_ENCRYPTED: refused(422, "The image is encrypted", "Decrypt it first with `qemu-img convert` and its key."),
  E_NESTED_IMAGE: refused(
    422,
    "The disk's content is itself a disk image",
    "Unwrap it first, or use --allow-nested (pods: DVCR_ALLOW_NESTED=true) if that is what you want.",
  ),
  E_UNDECLARED_FIXED_VHD: refused(
    422,
    "The file is a fixed VHD, seen only at its end",
    "Declare it with --src-format vpc (pods: DVCR_SOURCE_FORMAT=vpc) and send it again.",
  ),
  E_OUT_OF_ORDER: refused(
    422,
    "The image's parts stand in an order that a stream cannot follow",
    "Rewrite it with `qemu-img convert`, or import it from a file or a server with Range.",
  ),
  E_NO_DISK: refused(422, "The archive holds no disk image", "Put exactly one disk image into it."),
  E_SEVERAL_DISKS: refused(
    422,
    "The archive holds more than one disk image",
    "Take the one you want out of it and send that.",
  ),
  E_CORRUPT_ARCHIVE: refused(422, "The archive is damaged", "Test it with `tar -tf`, or fetch it again."),
} as const satisfies Record<string, ErrorEntry>;
