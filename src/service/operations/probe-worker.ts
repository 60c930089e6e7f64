/**
 * The thread that answers probes: an HTTP server of its own, which turns whatever the event loop of the service does.
 */
import { createServer } from "node:http";
import { parentPort, workerData } from "node:worker_threads";
import { limitConnections } from "../../uploader/connections.ts";
import { probeAnswer } from "./probe-answers.ts";
import type { FromProbes, ProbeThreadData, ToProbes } from "./probe-thread.ts";

/** A scrape waits for fresh metrics no longer; it is answered with the last ones then. */
const freshMilliseconds = 150;
const connections = { all: 256, perAddress: 128, silence: 5000 };
const headMilliseconds = 5000;

const { host, port, heartbeat } = workerData as ProbeThreadData;
const events = parentPort!;
const lastTurn = new BigInt64Array(heartbeat);
let notReady: string | undefined = "starting";
let metricsTokens: ReadonlySet<string> | undefined = new Set();
let metrics = "";
let metricsAt = performance.now();
let asked: Promise<void> | undefined;
let onMetrics: () => void = () => undefined;

const tell = (message: FromProbes): void => {
  events.postMessage(message);
};

events.on("message", (message: ToProbes) => {
  if ("notReady" in message) notReady = message.notReady;
  if ("metricsTokens" in message) metricsTokens = message.metricsTokens && new Set(message.metricsTokens);
  if ("metrics" in message) {
    metrics = message.metrics;
    metricsAt = performance.now();
    asked = undefined;
    onMetrics();
  }
  if ("close" in message) {
    server.close();
    server.closeAllConnections();
    events.close();
  }
});

/** Resolves with the metrics, or when they do not come in time; however many ask, the event loop is asked once. */
async function freshMetrics(): Promise<void> {
  if (asked === undefined) {
    asked = new Promise((resolve) => (onMetrics = resolve));
    tell({ wants: "metrics" });
  }
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([asked, new Promise<void>((resolve) => (timer = setTimeout(resolve, freshMilliseconds)))]);
  clearTimeout(timer);
}

const server = createServer({ headersTimeout: headMilliseconds, requestTimeout: headMilliseconds });
limitConnections(server, connections);
server.on("request", (request, response) => {
  request.resume();
  const path = new URL(request.url ?? "/", "http://probe").pathname;
  const isRead = request.method === "GET" || request.method === "HEAD";
  const answer = (): void => {
    const { status, type, body } = probeAnswer(path, state(), request.headers.authorization);
    const headers = { "content-type": type, "cache-control": "no-store", "content-length": Buffer.byteLength(body) };
    response.writeHead(status, status === 401 ? { ...headers, "www-authenticate": "Bearer" } : headers);
    response.end(request.method === "HEAD" ? undefined : body);
  };
  if (!isRead) response.writeHead(405, { allow: "GET, HEAD" }).end();
  else if (path === "/metrics") void freshMetrics().then(answer);
  else answer();
});
server.once("error", (error) => {
  tell({ failed: error.message });
});
server.listen(port, host, () => {
  tell({ port: (server.address() as { port: number }).port });
});

function state() {
  return {
    notReady,
    metricsTokens,
    metrics,
    metricsAge: performance.now() - metricsAt,
    silence: Number(process.hrtime.bigint() - Atomics.load(lastTurn, 0)) / 1e6,
  };
}
