import type { CurrentImage } from "../destination/destination.ts";
import { buildImage, createdAt, ownKeys, type ImageManifest } from "../layer/image-config.ts";
import { addon, type NativeResult } from "../native/addon.ts";
import type { ImportOptions } from "./import-image.ts";
import { reuseKeys } from "./reuse.ts";

/** Own label: whether the disk was converted (`raw`) or kept as it came (`source`). */
const storedAs = "io.deckhouse.dvcr.stored-as";

/** The image around a finished conversion. */
export function imageOf(result: NativeResult, options: ImportOptions): ImageManifest {
  const keys = reuseKeys(result, options);
  return buildImage({
    kind: options.manifestKind,
    compression: options.compression,
    layerDigest: result.layerDigest,
    layerSize: result.layerSize,
    diffId: result.diffId,
    format: result.storedFormat,
    virtualSize: result.image.virtualSize ?? result.diskSize,
    sourceSize: result.sourceSize,
    encoderId: addon.encoderId(options.compression),
    labels: { [storedAs]: options.format, ...keys },
    annotations: keys,
    created: createdAt(options.sourceDateEpoch),
  });
}

/**
 * True when what stands at a tag may well be this import's own result: same options, same encoder, same source size.
 * Only the layer's digest proves it.
 */
export function maySameImage(current: CurrentImage, options: ImportOptions, sourceSize: number | undefined): boolean {
  const { labels } = current;
  return (
    current.layers.length === 1 &&
    labels[ownKeys.encoder] === addon.encoderId(options.compression) &&
    labels[ownKeys.compression] === options.compression &&
    labels[storedAs] === options.format &&
    labels[ownKeys.sourceSize] === String(sourceSize)
  );
}

/** Bytes of disk/disk.img in an image of ours, where its labels tell. */
export function diskSizeOf(current: CurrentImage): number | undefined {
  if (current.labels[storedAs] !== "raw") return undefined;
  const size = Number(current.labels["source-image-virtual-size"]);
  return Number.isSafeInteger(size) ? size : undefined;
}
