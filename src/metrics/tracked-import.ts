import type { Destination } from "../destination/destination.ts";
import type { Logger } from "../log/logger.ts";
import type { ImportImage, ImportOptions, ImportReport } from "../pipeline/import-image.ts";
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

export function trackedImport({ importImage, openDestination, tracker, log }: TrackedImportDeps): TrackedImport {
  return async (source, options, signal) => {
    const destination = openDestination();
    const startedAt = performance.now();
    let timer: NodeJS.Timeout | undefined;
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
      tracker.attach(() => running.progress());
      timer = setInterval(() => {
        const { sourceBytes, sourceSize, layerBytes } = running.progress();
        const averageSpeed = Math.round(sourceBytes / ((performance.now() - startedAt) / 1000));
        log.info({ percent: tracker.percent(), sourceBytes, sourceSize, layerBytes, averageSpeed }, "progress");
      }, logMilliseconds);
      const report = await running.done;
      tracker.finish();
      return report;
    } finally {
      clearInterval(timer);
      tracker.detach();
      await destination.close();
    }
  };
}
