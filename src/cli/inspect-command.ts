import { inspectSource } from "../pipeline/inspection.ts";
import type { NativeImage, SpecificValue } from "../native/addon.ts";
import type { Source } from "../source/source.ts";
import { formatBytes, formatTable } from "./units.ts";

export interface InspectOptions {
  readonly json: boolean;
  readonly declaredFormat?: string;
  readonly scratchDirectory: string;
  readonly limits: { readonly maxVirtualSize: number; readonly maxScratch: number; readonly maxDecoderMemory: number };
}

/**
 * `dvcr inspect`: what a source is, from its first bytes, as text for stdout. Throws DvcrError with the reason of a
 * refusal.
 */
export async function inspect(source: Source, options: InspectOptions, signal: AbortSignal): Promise<string> {
  const opened = await source.open(signal);
  try {
    const image = await inspectSource(opened, options);
    return options.json
      ? `${JSON.stringify(inspectJson(image, source.description, opened.size), undefined, 2)}\n`
      : inspectTable(image, source.description, opened.size);
  } finally {
    await opened.close();
  }
}

/** The field names of `qemu-img info --output=json`, plus `compression`, `source-size` and `warnings` of ours. */
export function inspectJson(
  image: NativeImage,
  filename: string,
  sourceSize: number | undefined,
): Record<string, unknown> {
  return {
    filename,
    format: image.format,
    ...(image.virtualSize === undefined ? {} : { "virtual-size": image.virtualSize }),
    ...(image.clusterSize === 0 ? {} : { "cluster-size": image.clusterSize }),
    ...(Object.keys(image.specific).length === 0
      ? {}
      : { "format-specific": { type: image.format, data: withFilenames(image.specific, filename) } }),
    compression: image.compressions,
    ...(sourceSize === undefined ? {} : { "source-size": sourceSize }),
    warnings: image.warnings,
  };
}

/** An extent's file is the image itself, whose name only we know; every other list stays as it is. */
function withFilenames(specific: NativeImage["specific"], filename: string): NativeImage["specific"] {
  const { extents } = specific;
  if (!Array.isArray(extents)) return specific;
  return { ...specific, extents: extents.map((extent: Record<string, SpecificValue>) => ({ ...extent, filename })) };
}

/** A value on one line. */
function text(value: SpecificValue): string {
  if (typeof value !== "object") return String(value);
  return value
    .map((item) =>
      typeof item === "string"
        ? item
        : Object.entries(item)
            .map(([name, inner]) => [name, text(inner)] as const)
            .filter(([, shown]) => shown !== "")
            .map((pair) => pair.join(" "))
            .join(", "),
    )
    .join("; ");
}

function inspectTable(image: NativeImage, filename: string, sourceSize: number | undefined): string {
  const specific = Object.entries(image.specific).map(([name, value]) => [name, text(value)] as const);
  return formatTable([
    ["source", filename],
    ["format", [image.format, ...[...image.compressions].reverse().map((name) => `in ${name}`)].join(" ")],
    [
      "virtual size",
      image.virtualSize === undefined
        ? "not known before it is unpacked"
        : `${formatBytes(image.virtualSize)} (${image.virtualSize} bytes)`,
    ],
    ...(sourceSize === undefined ? [] : [["source size", `${formatBytes(sourceSize)} (${sourceSize} bytes)`] as const]),
    ...(image.clusterSize === 0 ? [] : [["cluster size", formatBytes(image.clusterSize)] as const]),
    ...specific,
    ...image.warnings.map((warning) => ["warning", warning] as const),
  ]);
}

/** What a refusal looks like in --json: still one object on stdout. */
export function refusalJson(filename: string, code: string, reason: string, fix: string): string {
  return `${JSON.stringify({ filename, refused: { code, reason, fix } }, undefined, 2)}\n`;
}
