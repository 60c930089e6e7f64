import { DvcrError } from "../../errors/dvcr-error.ts";
import { Backoff, type RetryPolicy } from "../../retry/retry.ts";

export interface WorkQueueOptions {
  /**
   * Brings the object of a key to where it should be; repeated with growing pauses while it throws. `signal`: the queue
   * closes.
   */
  readonly work: (key: string, signal: AbortSignal) => Promise<void>;
  readonly onError: (key: string, error: unknown) => void;
  /** Keys worked on at once. */
  readonly workers: number;
}

const retryPolicy: RetryPolicy = {
  firstDelayMs: 200,
  factor: 3,
  maxDelayMs: 60_000,
  jitter: 0.1,
  deadlineMs: Infinity,
};

interface Timer {
  readonly at: number;
  readonly handle: NodeJS.Timeout;
}

/** Keys to be worked on: each at most once at a time, and again where it was added meanwhile. */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #ready = new Set<string>();
  readonly #active = new Map<string, Promise<void>>();
  readonly #timers = new Map<string, Timer>();
  readonly #failures = new Map<string, Backoff>();
  readonly #closed = new AbortController();

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  /** Works on `key` soon. */
  add(key: string): void {
    if (this.#closed.signal.aborted) return;
    this.#ready.add(key);
    this.#pump();
  }

  /** As add(), in so many milliseconds, or sooner where that was asked for already. */
  addAfter(key: string, milliseconds: number): void {
    if (this.#closed.signal.aborted) return;
    const at = performance.now() + milliseconds;
    const known = this.#timers.get(key);
    if (known !== undefined && known.at <= at) return;
    clearTimeout(known?.handle);
    const handle = setTimeout(() => {
      this.#timers.delete(key);
      this.add(key);
    }, milliseconds);
    this.#timers.set(key, { at, handle });
  }

  /** Takes nothing more on, and has what is being worked on end. */
  async close(): Promise<void> {
    this.#closed.abort(new DvcrError("E_CANCELLED", "the service stops"));
    for (const { handle } of this.#timers.values()) clearTimeout(handle);
    this.#timers.clear();
    this.#ready.clear();
    await Promise.all(this.#active.values());
  }

  #pump(): void {
    for (const key of this.#ready) {
      if (this.#active.size >= this.#options.workers) return;
      if (this.#active.has(key)) continue;
      this.#ready.delete(key);
      this.#active.set(
        key,
        this.#run(key).then(() => {
          this.#active.delete(key);
          this.#pump();
        }),
      );
    }
  }

  async #run(key: string): Promise<void> {
    const { signal } = this.#closed;
    try {
      await this.#options.work(key, signal);
      this.#failures.delete(key);
    } catch (error) {
      if (signal.aborted) return;
      this.#options.onError(key, error);
      const backoff = this.#failures.get(key) ?? new Backoff(retryPolicy);
      this.#failures.set(key, backoff);
      // Rejects when the queue is closed.
      void backoff.wait(signal).then(
        () => {
          this.add(key);
        },
        () => undefined,
      );
    }
  }
}
