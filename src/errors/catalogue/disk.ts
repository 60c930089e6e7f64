/** Errors of disks that an export writes. */
import { refused, retry, usage, type ErrorEntry } from "./entry.ts";

export const diskErrors = {
  E_DISK_EXISTS: usage("The file that the disk was to be written to exists", "Give another name, or add --force."),
  E_DISK_BUSY: retry(409, "The block device is in use", "Unmount it, or end what holds it (`lsblk`, `fuser`)."),
  E_DISK_DENIED: refused(403, "The disk may not be written", "Check its owner and mode, and that it is not read-only."),
  E_DISK_TOO_SMALL: refused(422, "The device is smaller than the disk", "Use a device of the size that is named."),
  E_DISK_FULL: retry(507, "There is no room for the disk", "Free space or give another place, then run it again."),
  E_DISK_IO: retry(
    500,
    "Writing or reading the disk failed",
    "Check the device or file system (dmesg), then run it again.",
  ),
  E_DISK_READ_BACK: retry(
    500,
    "The disk does not hold what was written to it",
    "Do not use it: its device or file system is faulty. Write it to another one.",
  ),
} as const satisfies Record<string, ErrorEntry>;
