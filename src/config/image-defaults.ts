/**
 * What an image may be, and what holds where nothing else is asked for: the same for flags, environment and service.
 */
export const SOURCE_FORMATS = ["raw", "iso", "qcow2", "vmdk", "vdi", "vpc", "vhdx"] as const;
export const IMAGE_FORMATS = ["raw", "source"] as const;
export const LAYER_COMPRESSIONS = ["gzip", "zstd", "none"] as const;
export const MANIFEST_KINDS = ["oci", "docker"] as const;

const GIB = 2 ** 30;

export const imageDefaults = {
  imageFormat: "raw",
  layerCompression: "gzip",
  manifestKind: "oci",
  /** Bytes. */
  maxVirtualSize: 64 * 1024 * GIB,
  maxDecoderMemory: GIB / 4,
  scratchLimit: 64 * GIB,
} as const;
