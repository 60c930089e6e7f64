import type { FastifyInstance } from "fastify";

import { DvcrError } from "../../errors/dvcr-error.ts";
import type { ImagePlace } from "../images/image-place.ts";
import { userOf } from "../security/authenticate.ts";
import type { Authorize } from "../security/authorize.ts";
import type { ConsoleStatus } from "./console-status.ts";

export interface ConsoleStatusDeps {
  readonly version: string;
  readonly place: Pick<ImagePlace, "usage">;
  readonly authorize: Authorize;
}

/**
 * GET /console/status: how full the store is, for everybody who may see images of the cluster. To be registered behind
 * requireUser(); throws E_NOT_ALLOWED.
 */
export function consoleStatusRoute(app: FastifyInstance, { version, place, authorize }: ConsoleStatusDeps): void {
  app.get("/console/status", async (request, reply): Promise<ConsoleStatus> => {
    if (!authorize(userOf(request), { verb: "list", resource: "clustervirtualimages" })) {
      throw new DvcrError("E_NOT_ALLOWED", "you may not see the state of the store");
    }
    void reply.header("cache-control", "no-store");
    try {
      const { capacity, used, free } = await place.usage();
      return { version, store: { capacity, used, free } };
    } catch (error) {
      // A registry of somebody else does not tell; the console works without.
      request.log.debug({ err: error }, "the store does not tell how full it is");
      return { version };
    }
  });
}
