import { cancellation, throwIfCancelled } from "../../../retry/cancel.ts";

/** So many jobs at once; the others wait in the order in which they came. */
export class Slots {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  /** Runs `work` when its turn comes; `onWait` is told when that is not at once. Throws a DvcrError once the signal is aborted while it waits. */
  async run<T>(signal: AbortSignal, work: () => Promise<T>, onWait?: () => void): Promise<T> {
    throwIfCancelled(signal);
    if (this.#free > 0) this.#free -= 1;
    else {
      onWait?.();
      await this.#turn(signal);
    }
    try {
      return await work();
    } finally {
      this.#pass();
    }
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const begin = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = (): void => {
        this.#waiting.delete(begin);
        reject(cancellation(signal));
      };
      this.#waiting.add(begin);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  /** Hands the slot to who waits longest. */
  #pass(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free += 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
