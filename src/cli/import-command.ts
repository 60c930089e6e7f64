import type { Logger } from "pino";

import type { Destination } from "../destination/destination.ts";
import type { ImportOptions, ImportReport } from "../pipeline/import-image.ts";
import { ImportMemory } from "../pipeline/import-memory.ts";
import { importingWith } from "../pipeline/run-import.ts";
import type { Source } from "../source/source.ts";
import type { ImportFlags } from "./import-flags.ts";
import { showProgress } from "./progress.ts";
import { formatBytes, formatSeconds, formatTable } from "./units.ts";

/** `dvcr import`: runs one import with progress on stderr; resolves to the text for stdout. */
export async function runImport(
  source: Source,
  destination: Destination,
  flags: ImportFlags,
  context: { readonly sourceDateEpoch?: number | undefined; readonly logger: Logger; readonly signal: AbortSignal },
): Promise<string> {
  const options = {
    ...importOptions(flags, context.sourceDateEpoch),
    onNotice: (text: string) => {
      context.logger.warn(text);
    },
  };
  const running = importingWith(new ImportMemory())(source, destination, options, context.signal);
  const endProgress = flags.quiet ? () => undefined : showProgress(running, process.stderr, context.logger);
  try {
    const report = await running.done;
    endProgress();
    return flags.json ? `${JSON.stringify(report)}\n` : reportTable(report);
  } catch (error) {
    endProgress();
    throw error;
  } finally {
    await destination.close();
  }
}

function importOptions(flags: ImportFlags, sourceDateEpoch: number | undefined): ImportOptions {
  return {
    checksums: flags.checksum,
    compression: flags.compression,
    format: flags.format,
    ...(flags.srcFormat === undefined ? {} : { sourceFormat: flags.srcFormat }),
    allowNested: flags.allowNested,
    reuse: flags.reuse,
    manifestKind: flags.manifest,
    limits: {
      maxVirtualSize: flags.maxVirtualSize,
      maxScratch: flags.scratchLimit,
      maxDecoderMemory: flags.maxDecoderMemory,
    },
    scratchDirectory: flags.scratchDir,
    ...(sourceDateEpoch === undefined ? {} : { sourceDateEpoch }),
  };
}

function reportTable(report: ImportReport): string {
  return formatTable([
    ["image", report.image],
    ["digest", report.manifestDigest],
    [
      "format",
      report.sourceFormat === report.format ? report.format : `${report.sourceFormat}, stored as ${report.format}`,
    ],
    ["virtual size", formatBytes(report.virtualSize)],
    [
      "stored size",
      report.layerPushed
        ? formatBytes(report.storedSize)
        : `${formatBytes(report.storedSize)}, there already: nothing was pushed`,
    ],
    ["time", `${formatSeconds(report.durationSeconds)} (${formatBytes(report.averageSpeed)}/s of source)`],
    ...(report.scratchPeak > 0 ? [["scratch used", formatBytes(report.scratchPeak)] as const] : []),
    ...(report.restarts > 0
      ? [["layer sent again", report.restarts === 1 ? "once" : `${report.restarts} times`] as const]
      : []),
    ...Object.entries(report.checksums).map(([algorithm, sum]) => [algorithm, sum] as const),
    ...report.warnings.map((warning) => ["warning", warning] as const),
  ]);
}
