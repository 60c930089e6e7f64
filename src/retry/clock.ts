/** Time as the retry rules see it, so that tests of a 17 minute wait need none. */
import { setTimeout as delay } from "node:timers/promises";
import { cancellation, throwIfCancelled } from "./cancel.ts";

export interface Clock {
  /** Milliseconds, never going back. */
  now(): number;
  /** Resolves after `ms`. @throws DvcrError once the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** From 0 to below 1. */
  random(): number;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  sleep: async (ms, signal) => {
    throwIfCancelled(signal);
    await delay(ms, undefined, { signal }).catch(() => {
      throw cancellation(signal);
    });
  },
  random: () => Math.random(),
};
