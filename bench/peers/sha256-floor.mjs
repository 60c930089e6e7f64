/** The floor: OpenSSL's SHA-256 over a raw disk, and nothing else. `sha256-floor.mjs DISK EXTENTS VIRTUAL_SIZE` */
import { hashDisk } from "../lib/sparse.mjs";

const [disk, extents, virtualSize] = process.argv.slice(2);
process.stdout.write(`${hashDisk(disk, extents, Number(virtualSize)).sha256}\n`);
