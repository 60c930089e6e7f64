import rateLimit from "@fastify/rate-limit";
import type { FastifyInstance } from "fastify";

import { DvcrError } from "../../errors/dvcr-error.ts";

export interface RateLimits {
  /** Requests of one address in a minute; 0: no limit. */
  readonly perMinute: number;
  /** Paths, as routes have them, that are never counted: probes. */
  readonly exempt: readonly string[];
}

const minute = 60_000;

/**
 * Counts requests by the sender's address, before anything else is done with them, so that tokens cannot be guessed at
 * speed: also those that no route knows. An upload's many parts are requests too: the limit has to leave room for them.
 */
export async function addRateLimit(app: FastifyInstance, { perMinute, exempt }: RateLimits): Promise<void> {
  if (perMinute === 0) return;
  // The plugin's own hooks stand at the routes, behind those of their scopes: wrong tokens would be refused uncounted.
  // Addresses that are counted at once; the oldest are forgotten first.
  await app.register(rateLimit, { global: false, cache: 10_000 });
  const count = app.createRateLimit({ max: perMinute, timeWindow: minute });
  app.addHook("onRequest", async (request, reply) => {
    if (exempt.includes(request.routeOptions.url ?? "")) return;
    const counted = await count(request);
    if (counted.isAllowed || !counted.isExceeded) return;
    void reply.header("retry-after", counted.ttlInSeconds);
    throw new DvcrError("E_TOO_MANY", `too many requests; wait ${counted.ttlInSeconds} seconds`);
  });
}
