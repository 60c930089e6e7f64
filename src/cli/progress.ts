import type { Logger } from "pino";
import type { ImportProgress, RunningImport } from "../pipeline/import-image.ts";
import { formatBytes, formatSeconds } from "./units.ts";

const BAR_INTERVAL_MS = 200;
const LOG_INTERVAL_MS = 5000;
const BAR_WIDTH = 28;

/** Shows what runs on a terminal as a bar, elsewhere as a log line, `what`, now and then. Returns how to end it. */
export function showProgress(
  running: Pick<RunningImport, "progress">,
  stream: NodeJS.WriteStream,
  logger: Logger,
  what = "importing",
): () => void {
  const meter = new SpeedMeter();
  if (!stream.isTTY) {
    const timer = setInterval(() => {
      const progress = running.progress();
      logger.info({ ...progress, bytesPerSecond: Math.round(meter.sample(progress.sourceBytes)) }, what);
    }, LOG_INTERVAL_MS);
    return () => {
      clearInterval(timer);
    };
  }
  const draw = () => {
    const progress = running.progress();
    stream.write(`\r\u001b[K${barLine(progress, meter.sample(progress.sourceBytes), stream.columns)}`);
  };
  const timer = setInterval(draw, BAR_INTERVAL_MS);
  return () => {
    clearInterval(timer);
    draw();
    stream.write("\n");
  };
}

/** One line: bar, percent, bytes, speed, time left; without a known size no percent and no time left. */
export function barLine(progress: ImportProgress, bytesPerSecond: number, columns: number): string {
  const { sourceBytes, sourceSize, layerBytes } = progress;
  const speed = `${formatBytes(Math.round(bytesPerSecond))}/s`;
  if (sourceSize === undefined || sourceSize === 0) {
    return `${formatBytes(sourceBytes)} read, ${formatBytes(layerBytes)} stored, ${speed}`.slice(0, columns - 1);
  }
  const share = Math.min(1, sourceBytes / sourceSize);
  const filled = Math.round(share * BAR_WIDTH);
  const bar = "#".repeat(filled) + "-".repeat(BAR_WIDTH - filled);
  const left = share < 1 ? `, ${formatSeconds((sourceSize - sourceBytes) / bytesPerSecond)} left` : "";
  const percent = (Math.floor(share * 1000) / 10).toFixed(1).padStart(5);
  return `[${bar}] ${percent}% ${formatBytes(sourceBytes)} of ${formatBytes(sourceSize)}, ${speed}${left}`.slice(
    0,
    columns - 1,
  );
}

/** Bytes per second over the last few samples. */
class SpeedMeter {
  readonly #samples: { at: number; bytes: number }[] = [{ at: performance.now(), bytes: 0 }];

  sample(bytes: number): number {
    const now = performance.now();
    this.#samples.push({ at: now, bytes });
    if (this.#samples.length > 16) this.#samples.shift();
    const first = this.#samples[0]!;
    return ((bytes - first.bytes) / Math.max(1, now - first.at)) * 1000;
  }
}
