import rateLimit from "@fastify/rate-limit";
import type { FastifyInstance, FastifyRequest } from "fastify";

import { DvcrError } from "../../errors/dvcr-error.ts";

export interface RateLimits {
  /** Requests of one address in a minute; 0: no limit. */
  readonly perMinute: number;
  /** Paths, as routes have them, that are never counted: probes. */
  readonly exempt: readonly string[];
}

/**
 * Counts requests by the sender's address, before anything else is done with them, so that tokens cannot be guessed at
 * speed. An upload's many parts are requests too: the limit has to leave room for them.
 */
export async function addRateLimit(app: FastifyInstance, { perMinute, exempt }: RateLimits): Promise<void> {
  if (perMinute === 0) return;
  await app.register(rateLimit, {
    global: true,
    max: perMinute,
    timeWindow: 60_000,
    // Addresses that are counted at once; the oldest are forgotten first.
    cache: 10_000,
    allowList: (request: FastifyRequest) => exempt.includes(request.routeOptions.url ?? ""),
    errorResponseBuilder: (_request, { after }) => new DvcrError("E_TOO_MANY", `too many requests; wait ${after}`),
  });
}
