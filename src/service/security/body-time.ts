/**
 * Bodies that come a byte at a time: each would hold a connection, and what was read of it, for as long as its sender
 * likes.
 */
import type { FastifyInstance, FastifyRequest } from "fastify";

import { DvcrError } from "../../errors/dvcr-error.ts";
import { announcesBody } from "../../uploader/continue.ts";

export interface BodyTime {
  /** From the request's head to the last byte of its body. */
  readonly milliseconds: number;
  /** Requests whose bodies may take as long as they take. */
  readonly isExempt: (request: FastifyRequest) => boolean;
}

/** Answers 408, by the route's own form of errors, where a body is not whole in time, and closes the connection. */
export function addBodyTime(app: FastifyInstance, { milliseconds, isExempt }: BodyTime): void {
  app.addHook("onRequest", (request, reply, done) => {
    if (announcesBody(request.raw) && !isExempt(request)) {
      const timer = setTimeout(() => {
        if (request.raw.complete || reply.sent) return;
        void reply
          .header("connection", "close")
          .send(new DvcrError("E_BODY_TIMEOUT", `the body was not whole after ${milliseconds / 1000} seconds`));
      }, milliseconds);
      request.raw.once("close", () => {
        clearTimeout(timer);
      });
    }
    done();
  });
}
