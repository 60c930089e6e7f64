import type { Logger } from "pino";

import type { DiskTarget } from "../disk/disk-target.ts";
import { exportDisk, type ExportOptions, type ExportReport } from "../pipeline/export-disk.ts";
import { inspectionMemory } from "../pipeline/import-memory.ts";
import type { Source } from "../source/source.ts";
import type { ExportFlags } from "./import-flags.ts";
import { showProgress } from "./progress.ts";
import { formatBytes, formatSeconds, formatTable } from "./units.ts";

/** `dvcr export`: writes one disk with progress on stderr; resolves to the text of the report. */
export async function runExport(
  source: Source,
  target: DiskTarget,
  flags: ExportFlags,
  context: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<string> {
  const running = exportDisk(source, target, exportOptions(flags), context.signal);
  const endProgress = flags.quiet
    ? () => undefined
    : showProgress(running, process.stderr, context.logger, "exporting");
  try {
    const report = await running.done;
    endProgress();
    return flags.json ? `${JSON.stringify(report)}\n` : reportTable(report);
  } catch (error) {
    endProgress();
    throw error;
  }
}

function exportOptions(flags: ExportFlags): ExportOptions {
  return {
    format: flags.format,
    compression: flags.compression,
    ...(flags.size === undefined ? {} : { size: flags.size }),
    sizeIsLimit: flags.size !== undefined,
    checksums: flags.checksum,
    verify: flags.verify,
    ...(flags.srcFormat === undefined ? {} : { sourceFormat: flags.srcFormat }),
    allowNested: flags.allowNested,
    limits: {
      maxVirtualSize: flags.maxVirtualSize,
      maxScratch: flags.scratchLimit,
      maxDecoderMemory: flags.maxDecoderMemory,
    },
    scratchDirectory: flags.scratchDir,
    memory: inspectionMemory,
  };
}

function reportTable(report: ExportReport): string {
  return formatTable([
    ["disk", report.destination],
    ["format", report.sourceFormat === report.format ? report.format : `${report.sourceFormat} to ${report.format}`],
    ["virtual size", formatBytes(report.virtualSize)],
    ["read", formatBytes(report.bytesRead)],
    ["written", formatBytes(report.bytesWritten)],
    ...(report.allocatedBytes === undefined ? [] : [["allocated", formatBytes(report.allocatedBytes)] as const]),
    ["time", `${formatSeconds(report.durationSeconds)} (${formatBytes(report.averageSpeed)}/s of disk)`],
    ...Object.entries(report.checksums).map(([algorithm, sum]) => [algorithm, sum] as const),
    ...(report.isVerified ? [["read back", "as it was written"] as const] : []),
    ...report.warnings.map((warning) => ["warning", warning] as const),
  ]);
}
