import fastify, { type FastifyInstance } from "fastify";

/** GET /healthz: 200 as long as the event loop turns. */
export function buildHealthApp(): FastifyInstance {
  const app = fastify({ logger: false, forceCloseConnections: true });
  app.get("/healthz", (_request, reply) =>
    reply.type("text/plain; charset=utf-8").header("cache-control", "no-store").send("OK\n"),
  );
  return app;
}
