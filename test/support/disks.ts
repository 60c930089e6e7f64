import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tool } from "./tools.ts";

const MIB = 1 << 20;

/** Bytes that look random and are the same in every run (xorshift32). */
export function patternBytes(length: number, seed: number): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed || 1;
  for (let i = 0; i < words.length; i += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return Buffer.from(words.buffer, 0, length);
}

/** Text-like bytes that compress by about two thirds. */
export function textBytes(length: number, seed: number): Buffer {
  const noise = patternBytes(Math.ceil(length / 8), seed);
  const lines: string[] = [];
  for (let i = 0, total = 0; total < length; i += 1) {
    const line =
      `${i} ${noise.readUInt8(i % noise.length).toString(2)} the quick brown fox ` +
      `${noise.readUInt8((i * 7) % noise.length)}\n`;
    lines.push(line);
    total += line.length;
  }
  return Buffer.from(lines.join("")).subarray(0, length);
}

/** Those bytes behind an empty first sector: a disk that is not taken for a text file. */
export function textDisk(length: number, seed: number): Buffer {
  return Buffer.concat([Buffer.alloc(512), textBytes(length - 512, seed)]);
}

/**
 * A raw disk with data in the usual shapes: text at the front, holes, noise in the middle, a short piece near the end.
 */
export async function makeRawDisk(path: string, megabytes = 48): Promise<string> {
  const file = await open(path, "w");
  try {
    await file.truncate(megabytes * MIB);
    await file.write(textBytes(6 * MIB, 7), 0, undefined, MIB);
    await file.write(patternBytes(3 * MIB + 4096, 11), 0, undefined, Math.floor(megabytes / 2) * MIB + 12288);
    await file.write(textBytes(70_000, 13), 0, undefined, (megabytes - 2) * MIB + 512);
  } finally {
    await file.close();
  }
  return path;
}

/** `qemu-img convert` of `from` to `to` with the given options. */
export async function qemuConvert(from: string, to: string, ...options: string[]): Promise<string> {
  await tool("qemu-img", "convert", ...options, from, to);
  return to;
}

/** The oracle: what qemu-img makes of an image, as sha256 hex of the raw bytes. */
export async function qemuRawDigest(image: string, directory: string): Promise<string> {
  const raw = join(directory, `oracle-${createHash("sha256").update(image).digest("hex").slice(0, 8)}.raw`);
  await qemuConvert(image, raw, "-O", "raw");
  return await fileDigest(raw);
}

/** sha256 hex of a file. */
export async function fileDigest(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: MIB })) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}

/** Writes `commands` through qemu-io into `image`. */
export async function qemuIo(image: string, commands: readonly string[]): Promise<void> {
  await tool("qemu-io", ...commands.flatMap((command) => ["-c", command]), image);
}

/** A seeded list of qemu-io writes all over a disk of `megabytes`. */
export function randomWrites(count: number, megabytes: number, seed: number): string[] {
  const noise = patternBytes(count * 8, seed);
  return Array.from({ length: count }, (_, i) => {
    const block = noise.readUInt32LE(i * 8) % (megabytes * 16);
    return `write -P ${1 + (noise.readUInt8(i * 8 + 4) % 254)} ${block * 65536} 64k`;
  });
}

/** A copy of a file's first bytes. */
export async function truncatedCopy(path: string, to: string, share: number): Promise<string> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const head = Buffer.alloc(Math.floor(size * share));
    await file.read(head, 0, head.length, 0);
    await writeFile(to, head);
  } finally {
    await file.close();
  }
  return to;
}
