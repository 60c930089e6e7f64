import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import { DvcrError } from "../errors/dvcr-error.ts";

const closeMilliseconds = 15_000;
/**
 * Connections that wait to be accepted. One that finds no room there tries again after 1, 3, 7, 15 seconds, so that a
 * burst of them (Node's own limit is 511) shuts everybody out for half a minute. Linux holds it to net.core.somaxconn.
 */
const backlog = 4096;

/** Listens and gives the port. Throws E_CONFIG naming `variable` when the port cannot be had. */
export async function listen(app: FastifyInstance, variable: string, host: string, port: number): Promise<number> {
  try {
    await app.listen({ host, port, backlog });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DvcrError("E_CONFIG", `${variable}: got ${port}, expected a free port on ${host} (${reason})`, {
      cause: error,
    });
  }
  return (app.server.address() as AddressInfo).port;
}

/** Stops accepting and lets answers that are under way end, up to a bound. */
export async function closeGracefully(app: FastifyInstance): Promise<void> {
  const timer = setTimeout(() => app.server.closeAllConnections(), closeMilliseconds);
  try {
    await app.close();
  } finally {
    clearTimeout(timer);
  }
}
