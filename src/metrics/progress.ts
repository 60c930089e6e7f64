import type { ImportProgress } from "../pipeline/import-image.ts";

/** What the gauges and the log show; percent 0..100, speeds in bytes per second of source. */
export interface ProgressSample {
  readonly percent: number;
  readonly averageSpeed: number;
  readonly currentSpeed: number;
  readonly sourceBytes: number;
}

/** Shown once any byte came, however large the source is: a reader takes 0 for "not started". */
const smallestPercent = 0.01;
/** Bytes after which a source of unknown length stands half way to `unknownCeiling`. */
const unknownHalfway = 4 * 2 ** 30;
const unknownCeiling = 99;

/** Percent of one attempt: moves only with bytes, reaches 100 only when the last source byte is in. */
function percentOf({ sourceBytes, sourceSize }: ImportProgress): number {
  if (!(sourceBytes > 0)) return 0;
  if (sourceSize === undefined || !(sourceSize > 0)) {
    return Math.max(smallestPercent, (unknownCeiling * sourceBytes) / (sourceBytes + unknownHalfway));
  }
  if (sourceBytes >= sourceSize) return 100;
  // Cut, not rounded: 99.9999 must not read as 100.
  return Math.max(smallestPercent, Math.floor((sourceBytes / sourceSize) * 1e5) / 1e3);
}

/** Follows the attempts of one process. What it shows never goes back, across attempts either, and is always finite. */
export class ProgressTracker {
  readonly #now: () => number;
  #read: (() => ImportProgress) | undefined;
  #percent = 0;
  #startedAt = 0;
  #last = { at: 0, bytes: 0 };
  #averageSpeed = 0;
  #currentSpeed = 0;
  #sourceBytes = 0;

  /** `now` gives milliseconds of a clock that never goes back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** A new attempt starts; `read` is asked for its counters from now on. */
  attach(read: () => ImportProgress): void {
    this.#read = read;
    this.#startedAt = this.#now();
    this.#last = { at: this.#startedAt, bytes: 0 };
  }

  /** The attempt is over: the speed falls to 0, the percentage stays. */
  detach(): void {
    this.percent();
    this.#read = undefined;
    this.#currentSpeed = 0;
  }

  /** The import as a whole has succeeded. */
  finish(): void {
    this.#percent = 100;
    this.detach();
  }

  /** Percent from the counters as they are at this moment. */
  percent(): number {
    if (this.#read !== undefined) {
      const progress = this.#read();
      if (Number.isFinite(progress.sourceBytes)) this.#sourceBytes = progress.sourceBytes;
      this.#percent = Math.min(100, Math.max(this.#percent, percentOf(progress)));
    }
    return this.#percent;
  }

  /** Takes the speeds since the last call; to be called once per second. */
  sample(): ProgressSample {
    const percent = this.percent();
    const now = this.#now();
    const elapsed = (now - this.#last.at) / 1000;
    if (this.#read !== undefined && elapsed > 0) {
      this.#currentSpeed = Math.max(0, this.#sourceBytes - this.#last.bytes) / elapsed;
      this.#averageSpeed = this.#sourceBytes / ((now - this.#startedAt) / 1000);
      this.#last = { at: now, bytes: this.#sourceBytes };
    }
    return {
      percent,
      averageSpeed: Math.round(this.#averageSpeed),
      currentSpeed: Math.round(this.#currentSpeed),
      sourceBytes: this.#sourceBytes,
    };
  }
}
