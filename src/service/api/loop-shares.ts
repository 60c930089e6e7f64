/**
 * Shares of the event loop. Every request is bounded (decode/limits.ts), but a tenant may send many that cost as
 * much as a request can: what each user's requests have taken is counted, and whoever has taken more than a burst
 * waits until its debt is paid off, and while the loop has hardly any time left. Those in debt share less than half
 * of it; whoever is not in debt waits for their requests no longer than for one. Time must be left, because Node
 * accepts one connection at each turn of the loop.
 */
import { performance } from "node:perf_hooks";
import { StatusError } from "./status.ts";

export interface ShareLimits {
  /** Milliseconds of the loop that a user may take before it has to wait. */
  readonly burst: number;
  /** Part of the loop's time for all users in debt together. */
  readonly share: number;
  /** Requests of one user that may wait; others are answered 429. */
  readonly waiting: number;
  /** Part of the loop's time above which those in debt wait on. */
  readonly busy: number;
}

const defaults: ShareLimits = { burst: 300, share: 0.4, waiting: 200, busy: 0.7 };
/** Milliseconds until it is looked again whether the loop has time, and until a waiter goes on although it has none. */
const lookAgain = 50;
const longest = 5000;

interface Account {
  debt: number;
  at: number;
  readonly waiters: { readonly go: () => void; readonly refuse: (error: Error) => void; readonly since: number }[];
  timer: NodeJS.Timeout | undefined;
}

export const tooManyRequests = (message: string): StatusError =>
  new StatusError(429, "TooManyRequests", message, { retryAfterSeconds: 1 });

export class LoopShares {
  readonly #limits: ShareLimits;
  readonly #now: () => number;
  readonly #accounts = new Map<string, Account>();
  #looked = performance.eventLoopUtilization();
  #utilization = 0;

  /** `now`: milliseconds of a monotonic clock. */
  constructor(limits: Partial<ShareLimits> = {}, now = () => performance.now()) {
    this.#limits = { ...defaults, ...limits };
    this.#now = now;
  }

  /** Runs `work`, which keeps the loop, on the user's account. */
  measured<T>(user: string, work: () => T): T {
    const from = this.#now();
    try {
      return work();
    } finally {
      this.#charge(user, this.#now() - from);
    }
  }

  /** Resolves when the user's next request may be handled; undefined where that is now. Throws 429. */
  turn(user: string): Promise<void> | undefined {
    const account = this.#accounts.get(user);
    if (account === undefined) return undefined;
    this.#settle(account);
    if (account.debt <= this.#limits.burst && account.waiters.length === 0) return undefined;
    if (account.waiters.length >= this.#limits.waiting)
      throw tooManyRequests(
        "the user's requests before this one have not been handled yet: send fewer, or smaller ones",
      );
    return new Promise((resolve, reject) => {
      account.waiters.push({ go: resolve, refuse: reject, since: this.#now() });
      this.#wake(user, account);
    });
  }

  /** Refuses all that wait: the service stops. */
  close(): void {
    for (const { waiters, timer } of this.#accounts.values()) {
      clearTimeout(timer);
      for (const { refuse } of waiters.splice(0)) refuse(tooManyRequests("the service is stopping"));
    }
  }

  #charge(user: string, milliseconds: number): void {
    const account = this.#accounts.get(user) ?? { debt: 0, at: this.#now(), waiters: [], timer: undefined };
    this.#accounts.set(user, account);
    this.#settle(account);
    account.debt += milliseconds;
  }

  /** Counts what was paid off since it was last looked at. */
  #settle(account: Account): void {
    const now = this.#now();
    account.debt = Math.max(0, account.debt - (now - account.at) * this.#rate());
    account.at = now;
  }

  /** What each user in debt pays off, in milliseconds for each. */
  #rate(): number {
    let indebted = 0;
    for (const [user, { debt, at, waiters }] of this.#accounts) {
      if (debt > this.#limits.burst || waiters.length > 0) indebted += 1;
      // Long paid off.
      else if (this.#now() - at > debt / this.#limits.share + 60_000) this.#accounts.delete(user);
    }
    return this.#limits.share / Math.max(1, indebted);
  }

  /** Lets one waiter go once the debt is paid; the next one after that has been charged. */
  #wake(user: string, account: Account): void {
    if (account.timer !== undefined || account.waiters.length === 0) return;
    const owed = Math.ceil(Math.max(0, account.debt - this.#limits.burst) / this.#rate());
    account.timer = setTimeout(
      () => {
        account.timer = undefined;
        this.#settle(account);
        if (account.debt <= this.#limits.burst) {
          const isOverdue = this.#now() - account.waiters[0]!.since > longest;
          if (this.#isFree() || isOverdue) account.waiters.shift()!.go();
        }
        this.#wake(user, account);
      },
      Math.min(Math.max(owed, lookAgain), longest),
    );
  }

  /** Whether the loop has had time to spare of late. */
  #isFree(): boolean {
    const now = performance.eventLoopUtilization();
    const { utilization, idle, active } = performance.eventLoopUtilization(now, this.#looked);
    if (idle + active >= lookAgain) {
      this.#looked = now;
      this.#utilization = utilization;
    }
    return this.#utilization < this.#limits.busy;
  }
}
