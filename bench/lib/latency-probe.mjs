/**
 * A thread that, told to start, asks for `url` again and again; told to stop, it posts how long each answer took, in
 * milliseconds.
 */
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";

/** Milliseconds from one answer to the next request. */
const interval = 25;

const latencies = [];
let isOver = false;
// The first one loads the client, and opens its connection.
await (await fetch(workerData.url)).arrayBuffer();
parentPort.postMessage("ready");
await once(parentPort, "message");
parentPort.once("message", () => (isOver = true));
while (!isOver) {
  const from = performance.now();
  await (await fetch(workerData.url)).arrayBuffer();
  latencies.push(performance.now() - from);
  await delay(interval);
}
parentPort.postMessage(latencies);
