import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { DvcrError } from "../errors/dvcr-error.ts";
import { addon } from "../native/addon.ts";
import { progressGauges } from "./gauges.ts";
import type { ProgressTracker } from "./progress.ts";

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Serves the progress gauges by HTTPS on every path and updates them once per second. Throws E_CONFIG when the port
 * cannot be had.
 */
export async function startMetricsServer(
  tracker: ProgressTracker,
  options: { port: number; ownerUid: string; progressGauge?: string | undefined },
): Promise<MetricsServer> {
  const { registry, update } = progressGauges(tracker, options.ownerUid, options.progressGauge);
  const server = createServer(addon.selfSigned("dvcr-data-plane"), (request, response) => {
    request.resume();
    registry.metrics().then(
      (body) => response.writeHead(200, { "content-type": registry.contentType }).end(body),
      () => response.writeHead(500).end(),
    );
  });
  server.listen(options.port);
  try {
    await once(server, "listening");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DvcrError("E_CONFIG", `DVCR_METRICS_PORT: got ${options.port}, expected a free port (${reason})`, {
      cause: error,
    });
  }
  const timer = setInterval(update, 1000);
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      clearInterval(timer);
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
