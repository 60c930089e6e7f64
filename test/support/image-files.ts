/** One small disk in every format and every container that there is. */
import { mkdir, open, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { patternBytes, qemuConvert, textBytes } from "./disks.ts";
import { tool } from "./tools.ts";

const KIB = 1 << 10;
const MIB = 1 << 20;
export const diskSize = 3 * MIB;

/** Of each format: its file's extension, and qemu-img's options; none for what is no work of qemu-img. */
const made = {
  qcow2: ["qcow2", "-O", "qcow2"],
  "packed qcow2": ["qcow2", "-c", "-O", "qcow2"],
  "streamOptimized VMDK": ["vmdk", "-O", "vmdk", "-o", "subformat=streamOptimized"],
  "sparse VMDK": ["vmdk", "-O", "vmdk", "-o", "subformat=monolithicSparse"],
  "fixed VHD": ["vhd", "-O", "vpc", "-o", "subformat=fixed,force_size=on"],
  "dynamic VHD": ["vhd", "-O", "vpc", "-o", "subformat=dynamic,force_size=on"],
  VHDX: ["vhdx", "-O", "vhdx"],
  VDI: ["vdi", "-O", "vdi"],
  raw: ["img"],
  ISO: ["iso"],
} as const;

export type ImageFormat = keyof typeof made;
export const imageFormats = Object.keys(made) as ImageFormat[];

/** Each packs `disk.EXT` of a directory of its own; `PACKED` is the file's name without the container's extension. */
const packers = {
  plain: undefined,
  gz: ["gzip", "-k"],
  xz: ["xz", "-k", "-0"],
  zst: ["zstd", "-q", "-k"],
  bz2: ["bzip2", "-k"],
  tar: ["tar", "-cf"],
  ova: ["tar", "--format=ustar", "-cf"],
  "tar.gz": ["tar", "-czf"],
} as const;

export type ImageContainer = keyof typeof packers;
export const imageContainers = Object.keys(packers) as ImageContainer[];

/** Data, holes and noise behind an empty first sector. */
async function writeDisk(path: string): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.truncate(diskSize);
    await file.write(textBytes(300 * KIB, 7), 0, undefined, 64 * KIB);
    await file.write(patternBytes(200 * KIB + 4096, 11), 0, undefined, MIB + 512);
    await file.write(textBytes(70_000, 13), 0, undefined, 2 * MIB + 8192);
  } finally {
    await file.close();
  }
}

const descriptor = (disk: string): string => `<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References><File ovf:id="file1" ovf:href="${disk}"/></References>
  <DiskSection><Disk ovf:diskId="d1" ovf:fileRef="file1" ovf:capacity="${String(diskSize)}"/></DiskSection>
</Envelope>
`;

/** Writes them all below `directory`. @returns the name of each within it, and of the bytes that each must become. */
export class ImageFiles {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async write(directory: string): Promise<ImageFiles> {
    const files = new ImageFiles(directory);
    for (const format of imageFormats) await files.#writeFormat(format);
    return files;
  }

  /** The file's path within the directory. */
  name(format: ImageFormat, container: ImageContainer): string {
    const disk = `disk.${made[format][0]}`;
    const at = format.replace(" ", "-");
    if (container === "plain") return `${at}/${disk}`;
    return container.startsWith("tar") || container === "ova" ? `${at}/all.${container}` : `${at}/${disk}.${container}`;
  }

  path(format: ImageFormat, container: ImageContainer): string {
    return join(this.directory, this.name(format, container));
  }

  /** What is stored: the disk, or the ISO itself. */
  expected(format: ImageFormat): string {
    return this.path(format === "ISO" ? "ISO" : "raw", "plain");
  }

  async #writeFormat(format: ImageFormat): Promise<void> {
    const [, ...options] = made[format];
    const disk = this.path(format, "plain");
    await mkdir(join(disk, ".."));
    if (format === "raw") await writeDisk(disk);
    else if (format === "ISO") await this.#writeIso(disk);
    else {
      const raw = join(this.directory, "source.raw");
      await writeDisk(raw);
      await qemuConvert(raw, disk, ...options);
    }
    for (const container of imageContainers) await this.#pack(format, container);
  }

  async #writeIso(path: string): Promise<void> {
    const tree = join(this.directory, "tree");
    await mkdir(tree);
    await writeFile(join(tree, "data"), patternBytes(MIB, 5));
    await tool("genisoimage", "-quiet", "-R", "-o", path, tree);
  }

  async #pack(format: ImageFormat, container: ImageContainer): Promise<void> {
    const [command, ...args] = packers[container] ?? [];
    if (command === undefined) return;
    const disk = this.path(format, "plain");
    if (command !== "tar") {
      await tool(command, ...args, disk);
      return;
    }
    const name = disk.slice(disk.lastIndexOf("/") + 1);
    const members = container === "ova" ? ["vm.ovf", name] : [name];
    await writeFile(join(disk, "../vm.ovf"), descriptor(name));
    const target = this.path(format, container);
    await tool(command, ...args, `${target}.part`, "-C", join(disk, ".."), ...members);
    await rename(`${target}.part`, target);
  }
}
