import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { extract } from "tar-stream";

import { fileDigest } from "./disks.ts";
import { tool } from "./tools.ts";

export interface PulledDisk {
  /** sha256 hex of /disk/disk.img. */
  readonly digest: string;
  readonly size: number;
  readonly names: readonly string[];
  /** Bytes of the layer as stored. */
  readonly layerSize: number;
}

interface Manifest {
  readonly layers: readonly { readonly digest: string; readonly mediaType: string }[];
}

/**
 * Pulls an image with skopeo and digests its disk; the layer is unpacked by the system's gzip or zstd. `flags` for
 * skopeo copy.
 */
export async function pullDisk(reference: string, directory: string, ...flags: string[]): Promise<PulledDisk> {
  const target = join(directory, `pulled-${createHash("sha256").update(reference).digest("hex").slice(0, 12)}`);
  await tool("skopeo", "copy", "--src-tls-verify=false", "--preserve-digests", ...flags, reference, `dir:${target}`);
  const manifest = JSON.parse(await readFile(join(target, "manifest.json"), "utf8")) as Manifest;
  const [layer] = manifest.layers;
  if (manifest.layers.length !== 1 || !layer) throw new Error("expected one layer");
  return await digestLayer(join(target, layer.digest.replace("sha256:", "")));
}

/** Unpacks an image of an OCI layout with umoci and digests its disk. */
export async function umociDiskDigest(layout: string, tag: string, directory: string): Promise<string> {
  const bundle = join(directory, `bundle-${tag}`);
  await tool("umoci", "raw", "unpack", "--rootless", "--image", `${layout}:${tag}`, bundle);
  return await fileDigest(join(bundle, "disk", "disk.img"));
}

/** The file's first bytes in hex; the whole may be larger than a buffer can be. */
async function firstBytes(path: string, count: number): Promise<string> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(count), 0, count, 0);
    return buffer.subarray(0, bytesRead).toString("hex");
  } finally {
    await file.close();
  }
}

async function digestLayer(path: string): Promise<PulledDisk> {
  const magic = await firstBytes(path, 4);
  const tool = magic.startsWith("1f8b") ? "gzip" : magic === "28b52ffd" ? "zstd" : "cat";
  const child = spawn(tool, tool === "cat" ? [path] : ["-dc", path], { stdio: ["ignore", "pipe", "inherit"] });
  const names: string[] = [];
  const hash = createHash("sha256");
  let size = 0;
  const archive = extract();
  child.stdout.pipe(archive);
  for await (const entry of archive) {
    names.push(entry.header.name);
    for await (const chunk of entry) {
      if (entry.header.name !== "disk/disk.img") continue;
      hash.update(chunk as Uint8Array);
      size += (chunk as Uint8Array).byteLength;
    }
  }
  return { digest: hash.digest("hex"), size, names, layerSize: (await stat(path)).size };
}
