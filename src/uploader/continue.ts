import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

const waiting = new WeakSet<IncomingMessage>();

/**
 * Takes over `Expect: 100-continue`: such requests are routed like any other, and no byte of their body is sent before
 * a handler calls letBodyCome(). Without this Node would ask for the body before anyone has looked at the request.
 */
export function holdBodiesBack(app: FastifyInstance): void {
  app.server.on("checkContinue", (request, response) => {
    waiting.add(request);
    app.routing(request, response);
  });
}

/** The request is accepted: asks for its body where the client waits to be asked. */
export function letBodyCome(request: FastifyRequest, reply: FastifyReply): void {
  if (waiting.delete(request.raw)) reply.raw.writeContinue();
}

/** True while the client holds its body back. */
export function isHeldBack(request: IncomingMessage): boolean {
  return waiting.has(request);
}

/** True when the request announces a body. */
export function announcesBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}
