import type { ImportOptions } from "../pipeline/import-image.ts";
import type { ValuesOf } from "./field.ts";
import type { Checksum } from "./kinds.ts";
import type { imageFields } from "./shared-fields.ts";

/**
 * The options of one import from a process's configuration; `sourceFormat`, where declared for it alone, comes first.
 */
export function importOptions(
  config: ValuesOf<typeof imageFields>,
  checksums: readonly Checksum[],
  sourceFormat: ImportOptions["sourceFormat"] = config.sourceFormat,
): ImportOptions {
  return {
    checksums,
    compression: config.layerCompression,
    format: config.imageFormat,
    ...(sourceFormat === undefined ? {} : { sourceFormat }),
    allowNested: config.allowNested,
    manifestKind: config.manifestKind,
    limits: {
      maxVirtualSize: config.maxVirtualSize,
      maxScratch: config.scratchLimit,
      maxDecoderMemory: config.maxDecoderMemory,
    },
    scratchDirectory: config.scratchDir,
    ...(config.sourceDateEpoch === undefined ? {} : { sourceDateEpoch: config.sourceDateEpoch }),
  };
}
