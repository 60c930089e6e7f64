/**
 * `dvcr serve` under siege: three tenants attack it, each with several attacks simultaneously, while a fourth works.
 * Used by test/service-siege.test.ts (short), `npm run test:siege` (five minutes) and `npm run bench:service`.
 */
import { setMaxListeners } from "node:events";
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

import { startService } from "../lib/servers.mjs";
import { attacks } from "./attacks.mjs";
import { Tenant } from "./client.mjs";
import { honestWork } from "./honest.mjs";

const attackers = ["red", "green", "blue"];
const emptyDiskGibibytes = 10;

/** Token file of everybody in a siege, as JSON. */
export const tokensOf = (names) => ({
  users: names.map((name) => ({
    name,
    token: tokenOf(name),
    roles: [{ role: "edit", namespaces: [name] }],
  })),
});
const tokenOf = (name) => `siege-token-of-${name}-0123456789`;

/**
 * Runs it for so many seconds in the workshop. `only`: names of attacks; default all of them, dealt to the three
 * tenants in turn. Resolves to the honest tenant's work, the peak of the service's memory in bytes, and the slowest
 * probes in milliseconds.
 */
export async function siege(
  workshop,
  { seconds, only = Object.keys(attacks), flags = ["--probe-listen", "127.0.0.1:0"] },
) {
  const tokens = workshop.path("tokens.json");
  await writeFile(tokens, JSON.stringify(tokensOf([...attackers, "honest"])));
  const emptyDisk = await makeEmptyDisk(workshop);
  const service = await startService(workshop, ["--token-file", tokens, ...flags], {
    DVCR_SERVE_OUTBOUND_ALLOW_ADDRESSES: "127.0.0.0/8",
    DVCR_SERVE_NAMESPACE_BYTES: String(2 ** 30),
    DVCR_SERVE_NAMESPACE_IMAGES: "500",
  });
  const { pid } = service.server.child;
  const probePort = Number(/"probePort":(\d+)/.exec(await readFile(service.server.log, "utf8"))?.[1]);
  const tenantOf = (name, index) =>
    new Tenant({ url: service.url, name, token: tokenOf(name), address: `127.0.0.${String(10 + index)}` });
  const hostile = attackers.map(tenantOf);
  const honest = tenantOf("honest", attackers.length);
  const end = new AbortController();
  setMaxListeners(0, end.signal);
  const probes = [probe(`${service.url}/healthz`, end.signal)];
  if (Number.isInteger(probePort)) probes.push(probe(`http://127.0.0.1:${probePort}/readyz`, end.signal));
  const attacking = only.map((name, index) => {
    const tenant = hostile[index % hostile.length];
    return attacks[name](tenant, end.signal, { emptyDisk }).catch((error) => {
      if (!end.signal.aborted) throw new Error(`the attack with ${name} ended by itself`, { cause: error });
    });
  });
  const timer = new AbortController();
  const stop = delay(seconds * 1000, undefined, { signal: timer.signal }).catch(() => undefined);
  const working = new AbortController();
  void stop.then(() => working.abort());
  try {
    const work = await Promise.race([honestWork(honest, working.signal), failing(attacking), died(service.server)]);
    end.abort();
    await Promise.all(attacking);
    const [healthz, probeThread] = await Promise.all(probes);
    return { ...work, peak: peakOf(pid), healthz, probeThread, log: await readFile(service.server.log, "utf8") };
  } finally {
    end.abort();
    timer.abort();
    working.abort();
    for (const tenant of [...hostile, honest]) tenant.close();
  }
}

/** Never resolves; rejects with the first attack that could not go on. */
const failing = (attacking) => new Promise((_, reject) => attacking.forEach((one) => one.catch(reject)));

const died = (server) =>
  server.exit.then(({ reason }) => {
    throw new Error(`the service ended: ${reason}`);
  });

/** A qcow2 file without a cluster of data. */
async function makeEmptyDisk(workshop) {
  const path = workshop.path("empty.qcow2");
  await workshop.run("qemu-img", ["create", "-f", "qcow2", path, `${emptyDiskGibibytes}G`]);
  return readFile(path);
}

/** Asks until the signal; the slowest answer in milliseconds. */
async function probe(url, signal) {
  let slowest = 0;
  while (!signal.aborted) {
    const from = performance.now();
    await new Promise((resolve) => {
      get(url, { agent: false }, (answer) => answer.resume().once("close", resolve)).once("error", resolve);
    });
    slowest = Math.max(slowest, performance.now() - from);
    await delay(50);
  }
  return slowest;
}

/** Bytes, as the kernel counts them. */
export function peakOf(pid) {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
}
