/** `--reuse`: an image of the same source, made in the same way, is tagged instead of made again. See docs/reuse.md. */
import type { CurrentImage, Destination } from "../destination/destination.ts";
import { ownKeys } from "../layer/image-config.ts";
import { addon, type NativeResult } from "../native/addon.ts";
import type { ImportOptions, ImportReport } from "./import-image.ts";

const sourceKey = (algorithm: string): string => `io.deckhouse.dvcr.source-${algorithm}`;
const optionsKey = "io.deckhouse.dvcr.import-options";
const sourceFormatKey = "io.deckhouse.dvcr.source-format";

/** What the layer depends on beside the source's bytes and the encoder. */
function optionsText(options: ImportOptions): string {
  return `format=${options.format};declared=${options.sourceFormat ?? ""};nested=${String(options.allowNested)}`;
}

/** The options with which the core runs: --reuse has the source hashed also where nobody gave a checksum. */
export function withDigestForReuse(options: ImportOptions): ImportOptions {
  if (options.reuse !== true || options.checksums.length > 0) return options;
  return { ...options, checksums: [{ algorithm: "sha256", expected: "" }] };
}

/** Keys by which a later import finds this image; none where the source was not hashed. */
export function reuseKeys(result: NativeResult, options: ImportOptions): Readonly<Record<string, string>> {
  const digests = Object.entries(result.checksums).map(([algorithm, found]) => [sourceKey(algorithm), found]);
  if (digests.length === 0) return {};
  return {
    ...(Object.fromEntries(digests) as Record<string, string>),
    [optionsKey]: optionsText(options),
    [sourceFormatKey]: result.image.format,
  };
}

/** The image that an import with `options` would make, where the destination holds it: at the tag, or elsewhere. */
export async function findMade(
  destination: Destination,
  options: ImportOptions,
  signal: AbortSignal,
): Promise<CurrentImage | undefined> {
  if (options.reuse !== true || options.checksums.length === 0) return undefined;
  const current = await destination.current(signal);
  if (current && isMade(current, options)) return current;
  for await (const other of destination.others?.(signal) ?? []) {
    if (isMade(other, options)) return other;
  }
  return undefined;
}

function isMade(image: CurrentImage, options: ImportOptions): boolean {
  const { labels } = image;
  const expected = {
    [ownKeys.encoder]: addon.encoderId(options.compression),
    [ownKeys.compression]: options.compression,
    [optionsKey]: optionsText(options),
    ...Object.fromEntries(options.checksums.map(({ algorithm, expected }) => [sourceKey(algorithm), expected])),
  };
  return (
    image.layers.length === 1 &&
    image.diffIds.length === 1 &&
    image.kind === options.manifestKind &&
    virtualSizeOf(image) <= options.limits.maxVirtualSize &&
    Object.entries(expected).every(([key, value]) => labels[key] === value)
  );
}

/** NaN where the labels do not tell, which no limit allows. */
function virtualSizeOf(image: CurrentImage): number {
  return Number(image.labels["source-image-virtual-size"]);
}

/** The report of an import for which nothing was read. */
export function reuseReport(
  image: CurrentImage,
  reference: string,
  options: ImportOptions,
  durationSeconds: number,
): ImportReport {
  const { labels } = image;
  const layer = image.layers[0]!;
  return {
    image: reference,
    manifestDigest: image.manifestDigest,
    layerDigest: layer.digest,
    diffId: image.diffIds[0]!,
    sourceFormat: labels[sourceFormatKey] ?? "",
    format: labels[ownKeys.format] ?? "",
    sourceSize: Number(labels[ownKeys.sourceSize]),
    virtualSize: virtualSizeOf(image),
    storedSize: layer.size,
    durationSeconds,
    averageSpeed: 0,
    checksums: Object.fromEntries(options.checksums.map(({ algorithm, expected }) => [algorithm, expected])),
    scratchPeak: 0,
    sizeFrom: "reused",
    layerPushed: false,
    restarts: 0,
    warnings: [],
  };
}
