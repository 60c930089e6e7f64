/** Waiting before trying again: the console's one place for it. */

const firstMs = 1000;
const longestMs = 30_000;

/**
 * Milliseconds to wait after `failures` in a row: doubling, with jitter so that many browsers do not come back at once.
 */
export function backoffMs(failures: number, retryAfterMs = 0): number {
  const exponential = Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 10));
  return Math.max(retryAfterMs, exponential * (0.75 + Math.random() / 2));
}

/** Resolves after `ms`, sooner when the network comes back, and at once when `signal` is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener("online", done);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
