import type { Destination } from "../destination/destination.ts";
import type { Logger } from "../log/logger.ts";
import type { ImportImage, ImportOptions, ImportProgress, ImportReport } from "../pipeline/import-image.ts";
import type { Source } from "../source/source.ts";
import type { ProgressTracker } from "./progress.ts";

const logMilliseconds = 10_000;

/** One attempt of an import from start to report; its progress is shown on /metrics and in the log. */
export type TrackedImport = (source: Source, options: ImportOptions, signal: AbortSignal) => Promise<ImportReport>;

export interface TrackedImportDeps {
  readonly importImage: ImportImage;
  /** A fresh destination for every attempt. */
  readonly openDestination: () => Destination;
  readonly tracker: ProgressTracker;
  readonly log: Logger;
}

/** Follows something that runs until it is done: its progress is shown on /metrics and in the log. */
export async function tracked<Report>(
  running: { progress(): ImportProgress; readonly done: Promise<Report> },
  tracker: ProgressTracker,
  log: Logger,
): Promise<Report> {
  const startedAt = performance.now();
  tracker.attach(() => running.progress());
  const timer = setInterval(() => {
    const { sourceBytes, sourceSize, layerBytes } = running.progress();
    const averageSpeed = Math.round(sourceBytes / ((performance.now() - startedAt) / 1000));
    log.info({ percent: tracker.percent(), sourceBytes, sourceSize, layerBytes, averageSpeed }, "progress");
  }, logMilliseconds);
  try {
    const report = await running.done;
    tracker.finish();
    return report;
  } finally {
    clearInterval(timer);
    tracker.detach();
  }
}

export function trackedImport({ importImage, openDestination, tracker, log }: TrackedImportDeps): TrackedImport {
  return async (source, options, signal) => {
    const destination = openDestination();
    try {
      const running = importImage(
        source,
        destination,
        {
          ...options,
          onNotice: (text) => {
            log.warn(text);
          },
        },
        signal,
      );
      return await tracked(running, tracker, log);
    } finally {
      await destination.close();
    }
  };
}
