/** A VMDK as the tools write it that make OVAs: streamed, so that its directory and footer stand at its end. */
import { deflateSync } from "node:zlib";

const sector = 512;
const grain = 128 * sector;
const tableEntries = 512;
const atEnd = 0xffff_ffff_ffff_ffffn;
const marker = { end: 0, table: 1, directory: 2, footer: 3 };

const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc(-bytes.length & (sector - 1))]);

function header(capacity: number, directory: bigint): Buffer {
  const out = Buffer.alloc(sector);
  out.write("KDMV", 0, "latin1");
  out.writeUInt32LE(3, 4);
  out.writeUInt32LE(0x30001, 8);
  out.writeBigUInt64LE(BigInt(capacity), 12);
  out.writeBigUInt64LE(BigInt(grain / sector), 20);
  out.writeBigUInt64LE(1n, 28);
  out.writeBigUInt64LE(20n, 36);
  out.writeUInt32LE(tableEntries, 44);
  out.writeBigUInt64LE(directory, 56);
  out.writeBigUInt64LE(BigInt(grain / sector), 64);
  out.write("\n \r\n", 73, "latin1");
  out.writeUInt16LE(1, 77);
  return out;
}

function descriptor(capacity: number): Buffer {
  const lines = [
    "# Disk DescriptorFile",
    "version=1",
    "CID=12345678",
    "parentCID=ffffffff",
    'createType="streamOptimized"',
    `RDONLY ${String(capacity)} SPARSE "disk.vmdk"`,
    "",
  ];
  return Buffer.concat([Buffer.from(lines.join("\n")), Buffer.alloc(20 * sector)]).subarray(0, 20 * sector);
}

function metadata(type: number, sectors: number): Buffer {
  const out = Buffer.alloc(sector);
  out.writeBigUInt64LE(BigInt(sectors), 0);
  out.writeUInt32LE(type, 12);
  return out;
}

/** `disk`, whole sectors, as streamOptimized VMDK whose header says that the directory stands at the end. */
export function streamedVmdk(disk: Buffer): Buffer {
  const capacity = disk.length / sector;
  const parts = [header(capacity, atEnd), descriptor(capacity)];
  parts.push(Buffer.alloc(grain - 21 * sector));
  let at = grain / sector;
  const add = (part: Buffer): number => {
    parts.push(part);
    const begin = at;
    at += part.length / sector;
    return begin;
  };
  const grains = Math.ceil(disk.length / grain);
  const tables = Math.ceil(grains / tableEntries);
  const directory = padded(Buffer.alloc(tables * 4));
  for (let table = 0; table < tables; table += 1) {
    const entries = Buffer.alloc(tableEntries * 4);
    for (let index = table * tableEntries; index < Math.min(grains, (table + 1) * tableEntries); index += 1) {
      const bytes = disk.subarray(index * grain, (index + 1) * grain);
      if (bytes.every((byte) => byte === 0)) continue;
      const packed = deflateSync(bytes, { level: 1 });
      const head = Buffer.alloc(12);
      head.writeBigUInt64LE(BigInt((index * grain) / sector), 0);
      head.writeUInt32LE(packed.length, 8);
      entries.writeUInt32LE(add(padded(Buffer.concat([head, packed]))), (index % tableEntries) * 4);
    }
    add(metadata(marker.table, entries.length / sector));
    directory.writeUInt32LE(add(entries), table * 4);
  }
  add(metadata(marker.directory, directory.length / sector));
  const place = add(directory);
  add(metadata(marker.footer, 1));
  add(header(capacity, BigInt(place)));
  add(metadata(marker.end, 0));
  return Buffer.concat(parts);
}
