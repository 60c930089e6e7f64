import type { ImageName } from "../model/names.ts";
import type { ImagePlace } from "./image-place.ts";

/** What a place itself says of an image. */
export interface StoredImage {
  /** "sha256:…" of the manifest. */
  readonly digest: string;
  /** Of the layers, as they are stored. */
  readonly bytes: number;
  /** What disk/disk.img is: "raw", "iso"; missing where the image does not tell. */
  readonly format?: string;
  /** Bytes of the disk; missing where the image does not tell. */
  readonly virtualSize?: number;
}

/** The labels of a config that say so (src/layer/image-config.ts). */
const formatLabel = "source-image-format";
const virtualSizeLabel = "source-image-virtual-size";

/** Reads manifest and config; undefined where the image is not there. Throws where that cannot be told now. */
export async function storedImage(
  place: ImagePlace,
  name: ImageName,
  signal: AbortSignal,
): Promise<StoredImage | undefined> {
  const destination = place.destination(name);
  try {
    const current = await destination.current(signal);
    if (current === undefined) return undefined;
    const format = current.labels[formatLabel];
    const virtualSize = Number(current.labels[virtualSizeLabel]);
    return {
      digest: current.manifestDigest,
      bytes: current.layers.reduce((sum, { size }) => sum + size, 0),
      ...(format === undefined ? {} : { format }),
      ...(Number.isSafeInteger(virtualSize) ? { virtualSize } : {}),
    };
  } finally {
    await destination.close();
  }
}
