import type { FastifyInstance, FastifyRequest } from "fastify";

import type { Access } from "./authorize.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** What the request asks for, set by whoever authorizes it. */
    access?: Access;
  }
}

const changes = new Set(["create", "update", "patch", "delete", "deletecollection"]);

/**
 * One line for every change that was asked for, done or refused: who, what, on what, with which end. Never contents.
 */
export function addAuditLog(app: FastifyInstance): void {
  app.addHook("onResponse", (request: FastifyRequest, reply, done) => {
    const { access, user } = request;
    if (access !== undefined && changes.has(access.verb)) {
      request.log.info({ audit: { user: user?.name, ...access, status: reply.statusCode, from: request.ip } }, "audit");
    }
    done();
  });
}
