import rateLimit, { type FastifyRateLimitStore } from "@fastify/rate-limit";
import type { FastifyInstance } from "fastify";

import { DvcrError } from "../../errors/dvcr-error.ts";

export interface RateLimits {
  /** Requests of one address in a minute; 0: no limit. */
  readonly perMinute: number;
  /** Paths, as routes have them, that are never counted: probes. */
  readonly exempt: readonly string[];
}

const minute = 60_000;

/** Addresses that are counted simultaneously; the oldest are forgotten first. */
const mostAddresses = 10_000;

/** The plugin's own store counts by the clock on the wall: set back, it keeps a window open for as long as that. */
class RequestCounts implements FastifyRateLimitStore {
  readonly #windows = new Map<string, { count: number; readonly until: number }>();

  incr(
    address: string,
    callback: (error: Error | null, result: { current: number; ttl: number }) => void,
    milliseconds: number,
  ): void {
    const now = performance.now();
    let window = this.#windows.get(address);
    if (window === undefined || window.until <= now) {
      window = { count: 0, until: now + milliseconds };
      this.#windows.delete(address);
      this.#windows.set(address, window);
      if (this.#windows.size > mostAddresses) this.#windows.delete(this.#windows.keys().next().value!);
    }
    window.count += 1;
    callback(null, { current: window.count, ttl: Math.ceil(window.until - now) });
  }

  child(): this {
    return this;
  }
}

/**
 * Counts requests by the sender's address, before anything else is done with them, so that tokens cannot be guessed at
 * speed: also those that no route knows. An upload's many parts are requests too: the limit has to leave room for them.
 */
export async function addRateLimit(app: FastifyInstance, { perMinute, exempt }: RateLimits): Promise<void> {
  if (perMinute === 0) return;
  // The plugin's own hooks stand at the routes, behind those of their scopes: wrong tokens would be refused uncounted.
  await app.register(rateLimit, { global: false, store: RequestCounts });
  const count = app.createRateLimit({ max: perMinute, timeWindow: minute });
  app.addHook("onRequest", async (request, reply) => {
    if (exempt.includes(request.routeOptions.url ?? "")) return;
    const counted = await count(request);
    if (counted.isAllowed || !counted.isExceeded) return;
    void reply.header("retry-after", counted.ttlInSeconds);
    throw new DvcrError("E_TOO_MANY", `too many requests; wait ${counted.ttlInSeconds} seconds`);
  });
}
