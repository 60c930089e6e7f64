/** A small but complete layer, made with Node's own gzip, for tests of destinations. */
import { createHash, randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { Destination } from "../../src/destination/destination.ts";
import type { LayerUpload } from "../../src/layer/layer-upload.ts";
import { buildImage, sha256Digest, type ImageManifest, type ManifestKind } from "../../src/layer/image-config.ts";
import { tarFrame } from "../../src/layer/tar-frame.ts";

export interface SampleImage {
  readonly disk: Buffer;
  readonly layer: Buffer;
  readonly layerDigest: string;
  readonly image: ImageManifest;
}

export async function sampleImage(kind: ManifestKind = "oci", diskSize = 3 * 1024 * 1024 + 17): Promise<SampleImage> {
  const disk = randomBytes(diskSize);
  const { head, tail } = await tarFrame(disk.length);
  const tar = Buffer.concat([head, disk, tail]);
  const layer = gzipSync(tar, { level: 1 });
  const layerDigest = sha256Digest(layer);
  const image = buildImage({
    kind,
    compression: "gzip",
    layerDigest,
    layerSize: layer.length,
    diffId: sha256Digest(tar),
    format: "raw",
    virtualSize: disk.length,
    sourceSize: 4711,
    encoderId: "test:1",
  });
  return { disk, layer, layerDigest, image };
}

/** Writes in pieces, all calls at once, as the pipeline may. */
export async function writeAll(upload: LayerUpload, bytes: Uint8Array, pieceSize = 1024 * 1024): Promise<void> {
  const writes: Promise<void>[] = [];
  for (let at = 0; at < bytes.byteLength; at += pieceSize)
    writes.push(upload.write(bytes.subarray(at, at + pieceSize)));
  const failed = (await Promise.allSettled(writes)).find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

export function hexOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Stores `sample` as an import would, and closes the destination. */
export async function storeSample(destination: Destination, sample: SampleImage): Promise<void> {
  try {
    await sendSample(destination, sample);
  } finally {
    await destination.close();
  }
}

/** As storeSample(), for a destination that is used further. */
export async function sendSample(destination: Destination, sample: SampleImage): Promise<void> {
  const { signal } = new AbortController();
  const upload = await destination.beginLayer(signal);
  try {
    await writeAll(upload, sample.layer, 300_000);
    await upload.commit(sample.layerDigest, sample.layer.length);
  } catch (error) {
    await upload.abort();
    throw error;
  }
  await destination.commitImage(sample.image, signal);
}
