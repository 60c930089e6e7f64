import type { Logger } from "pino";

import { copyImage, type CopyReport } from "../copy/copy-image.ts";
import type { cliCopyEnds } from "./endpoints.ts";
import type { ReportFlags } from "./import-flags.ts";
import { showProgress } from "./progress.ts";
import { formatBytes, formatSeconds, formatTable } from "./units.ts";

/** `dvcr copy`: copies one image with progress on stderr; resolves to the text for stdout. */
export async function runCopy(
  { source, destination, upload }: ReturnType<typeof cliCopyEnds>,
  flags: ReportFlags,
  context: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<string> {
  const running = copyImage(source, destination, context.signal, upload);
  const endProgress = flags.quiet ? () => undefined : showProgress(running, process.stderr, context.logger);
  try {
    const report = await running.done;
    return flags.json ? `${JSON.stringify(report)}\n` : reportTable(report);
  } finally {
    endProgress();
    await Promise.all([source.client.close(), destination.client.close()]);
  }
}

function reportTable(report: CopyReport): string {
  const { copiedBlobs, mountedBlobs, presentBlobs } = report;
  return formatTable([
    ["image", report.image],
    ["digest", report.manifestDigest],
    [
      "blobs",
      `${copiedBlobs} copied (${formatBytes(report.copiedSize)}), ${mountedBlobs} mounted, ` +
        `${presentBlobs} there already`,
    ],
    ["time", formatSeconds(report.durationSeconds)],
  ]);
}
