/**
 * The images service under load: 50 imports queued, 200 watchers, 20 uploads at once. Prints how fast the API answers
 * meanwhile and how much memory the service takes. Then the same for one tenant,
 * while three others attack for a minute.
 *
 *   npm run bench:service [-- --imports 50 --watchers 200 --uploads 20 --siege 60]
 *
 * The load's own clients run on the same cores, but give way to the service, as clients elsewhere would take nothing of
 * it. Only the requests whose time is taken, on a thread of their own, have its priority.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { get } from "node:http";
import { setPriority } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { parseArgs } from "node:util";

import { fail, Stop } from "../scripts/lib/process.mjs";
import { serveFile, startService } from "../scripts/lib/servers.mjs";
import { Workshop } from "../scripts/lib/workshop.mjs";
import { siege } from "../scripts/siege/siege.mjs";
import { percentile } from "./lib/stats.mjs";

const group = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";
const mebibyte = 1 << 20;
const dataBytes = 48 * mebibyte;
const diskBytes = 256 * mebibyte;
const slowest = 600;
/** What the 99th percentile of a list is to stay below. */
const targetMilliseconds = 100;
/** The same where tenants attack. */
const siegeTarget = 250;

async function main() {
  const { values } = parseArgs({
    options: {
      imports: { type: "string", default: "50" },
      watchers: { type: "string", default: "200" },
      uploads: { type: "string", default: "20" },
      siege: { type: "string", default: "60" },
    },
  });
  const wanted = {
    imports: Number(values.imports),
    watchers: Number(values.watchers),
    uploads: Number(values.uploads),
  };
  const workshop = await Workshop.open(new AbortController().signal);
  try {
    await measure(wanted, workshop);
  } finally {
    await workshop.close();
  }
  await measureSiege(Number(values.siege));
}

/** The same question while three tenants attack: what a fourth one's lists take. */
async function measureSiege(seconds) {
  if (!(seconds > 0)) return;
  const workshop = await Workshop.open(new AbortController().signal);
  try {
    const { lists, imports, uploads, problems, peak } = await siege(workshop, { seconds });
    const ms = (share) => `${percentile(lists, share).toFixed(1)} ms`;
    process.stdout.write(
      [
        `under siege for ${seconds} s, the honest tenant: ${imports} imports and ${uploads} uploads Ready, ` +
          `${problems.length} problems`,
        `its lists: ${lists.length} requests, median ${ms(0.5)}, 99th percentile ${ms(0.99)} ` +
          `(target: ${siegeTarget}), slowest ${ms(1)}`,
        `memory of the service: ${Math.round(peak / mebibyte)} MiB at its peak`,
        "",
      ].join("\n"),
    );
  } finally {
    await workshop.close();
  }
}

async function measure({ imports, watchers, uploads }, workshop) {
  const disk = workshop.path("disk.raw");
  await makeDisk(disk);
  const image = workshop.path("disk.qcow2");
  await workshop.run("qemu-img", ["convert", "-O", "qcow2", disk, image]);
  const source = await serveFile(image, workshop);
  const service = await startService(workshop, [], {
    DVCR_SERVE_MAX_UPLOADS: String(uploads),
    DVCR_SERVE_REQUESTS_PER_MINUTE: "0",
  });
  const pid = service.server.child.pid;
  const idle = memoryOf(pid).now;

  const probe = await makeProbe(`${service.url}${group}?limit=100`);
  // Linux keeps it by thread; those that begin from now on, and programs, have it too.
  setPriority(process.pid, 10);
  const watched = Array.from({ length: watchers }, () =>
    watch(`${service.url}${group}?watch=true&allowWatchBookmarks=true`),
  );
  for (let count = 0; count < imports; count += 1)
    await create(service.url, `import-${count}`, { type: "HTTP", http: { url: source.url } });
  for (let count = 0; count < uploads; count += 1) await create(service.url, `upload-${count}`, { type: "Upload" });
  const urls = await uploadUrls(service.url, uploads);

  probe.start();
  const started = performance.now();
  const sent = Promise.all(urls.map((url) => curl(image, url)));
  await allReady(service.url, imports + uploads);
  await sent;
  const seconds = (performance.now() - started) / 1000;
  const latencies = await probe.stop();
  const { peak } = memoryOf(pid);
  const events = watched.map((one) => one.stop());
  source.close();

  const ms = (share) => `${percentile(latencies, share).toFixed(1)} ms`;
  process.stdout.write(
    [
      `${imports} imports queued, ${uploads} uploads at once, ${watchers} watchers: all Ready ` +
        `after ${seconds.toFixed(1)} s`,
      `list of all images while they ran: ${latencies.length} requests, median ${ms(0.5)}, 99th ` +
        `percentile ${ms(0.99)} (target: ${targetMilliseconds}), slowest ${ms(1)}`,
      `memory of the service: ${Math.round(idle / mebibyte)} MiB idle, ${Math.round(peak / mebibyte)} MiB at its peak`,
      `events per watcher: ${Math.min(...events)} to ${Math.max(...events)}`,
      "",
    ].join("\n"),
  );
}

/** Noise with holes, so that a layer takes work and a disk is larger than its data. */
async function makeDisk(path) {
  const file = await open(path, "w");
  const piece = 4 * mebibyte;
  for (let at = 0; at < dataBytes; at += piece)
    await file.write(randomBytes(piece), 0, piece, (at / dataBytes) * diskBytes);
  await file.truncate(diskBytes);
  await file.close();
}

async function create(base, name, dataSource) {
  const body = JSON.stringify({
    apiVersion: "virtualization.deckhouse.io/v1alpha2",
    kind: "ClusterVirtualImage",
    metadata: { name },
    spec: { dataSource },
  });
  const answer = await fetch(`${base}${group}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  if (answer.status !== 201) throw new Stop(`creating ${name}: ${answer.status} ${await answer.text()}`);
}

async function list(base) {
  return (await (await fetch(`${base}${group}`)).json()).items;
}

async function uploadUrls(base, count) {
  for (;;) {
    const urls = (await list(base))
      .map(({ status }) => status?.imageUploadURLs?.inCluster)
      .filter((url) => url !== undefined);
    if (urls.length === count) return urls;
    await delay(100);
  }
}

async function allReady(base, count) {
  for (let tries = 0; tries < slowest; tries += 1) {
    const items = await list(base);
    const failed = items.find(({ status }) => status?.phase === "Failed");
    if (failed !== undefined)
      throw new Stop(`${failed.metadata.name} has failed: ${JSON.stringify(failed.status.conditions)}`);
    if (items.filter(({ status }) => status?.phase === "Ready").length === count) return;
    await delay(500);
  }
  throw new Stop("the images did not become Ready");
}

function watch(url) {
  let events = 0;
  const request = get(url, { agent: false }, (response) =>
    response
      .on("data", (part) => (events += part.toString("latin1").split("\n").length - 1))
      .on("error", () => undefined),
  );
  request.on("error", () => undefined);
  return { stop: () => (request.destroy(), events) };
}

async function makeProbe(url) {
  const worker = new Worker(new URL("lib/latency-probe.mjs", import.meta.url), { workerData: { url } });
  const message = () => new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
  await message();
  return {
    start: () => worker.postMessage("start"),
    stop: () => {
      const latencies = message();
      worker.postMessage("stop");
      return latencies;
    },
  };
}

function curl(file, url) {
  return new Promise((resolve, reject) => {
    const child = spawn("curl", ["-sS", "--fail-with-body", "-o", "/dev/null", "-T", file, url], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    child
      .once("error", reject)
      .once("close", (code) => (code === 0 ? resolve() : reject(new Stop(`curl ended with ${code}`))));
  });
}

/** Bytes, as the kernel counts them. */
function memoryOf(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
  return { now: field("VmRSS"), peak: field("VmHWM") };
}

await main().catch(fail);
// After a failure watchers, probe and source are still open.
process.exit();
