/**
 * Runs one case: every side once a round, in turn, each in fresh processes with a registry of its own.
 *
 * A side's script sees in its environment: DVCR (the checkout), IMAGE and IMAGE_SHA256 (the input), UNPACK (how to
 * unpack it by hand, or empty), RAW, EXTENTS, VIRTUAL_SIZE (its disk), REGISTRY, URL and CERTIFICATES (the origin, for
 * sides that want one), LAYOUT, LAYER, LAYER_DIGEST (what `after` stored), METRICS_PORT, ONE_CORE (a cgroup.procs),
 * TMPDIR (its own, also its cwd).
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";

import { root } from "../../scripts/lib/paths.mjs";
import { capture, run, Stop } from "../../scripts/lib/process.mjs";
import { freePorts, startRegistry } from "../../scripts/lib/servers.mjs";
import { Workshop } from "../../scripts/lib/workshop.mjs";
import { sides } from "../sides.mjs";
import { missingFor } from "./available.mjs";
import { measure } from "./measure.mjs";
import { watchMemory } from "./memory-sum.mjs";
import { watchMetrics } from "./metrics-latency.mjs";
import { startOrigin } from "./origin.mjs";
import { perfPrefix, profileOf, threadsOf } from "./profile.mjs";
import { percentile, summary } from "./stats.mjs";
import { storedBytes, verifyImage } from "./stored-image.mjs";

/** By hand, what took this much longer than the fastest way in the first round is not measured again. */
const hopeless = 1.3;

/** The sides of a case by name; "hand" stands for its whole group. */
export const sideNames = (one) =>
  one.sides.flatMap((name) =>
    sides[name] ? [name] : Object.keys(sides).filter((other) => sides[other].group === name),
  );

/** The inputs that a case needs. */
export const inputNames = (one) => [
  ...new Set([
    one.input,
    ...sideNames(one)
      .map((name) => sides[name].input)
      .filter(Boolean),
  ]),
];

/**
 * Runs `one` of the cases. @returns by side the summary of its runs, or why there is none (`absent`, `failed`).
 */
export async function runCase(one, context) {
  const { inputs, rounds, work, say } = context;
  const results = {};
  const names = [];
  for (const name of sideNames(one)) {
    const absent = await missingFor(sides[name], context);
    if (absent === undefined) names.push(name);
    else results[name] = { absent };
  }
  const pulled = await mkdtemp(join(work, "pulled-"));
  const state = { runs: Object.fromEntries(names.map((name) => [name, []])), pulled: {}, results };
  try {
    for (const input of inputNames(one)) await warm(inputs[input]);
    for (let round = 0; round < (one.rounds ?? rounds); round += 1) {
      for (const name of names) {
        if (results[name]?.failed !== undefined || (round > 0 && isHopeless(name, state.runs))) continue;
        await oneRun(one, name, state, { ...context, directory: pulled });
      }
    }
    const first = names.find((name) => sides[name].role === "ours" && state.runs[name].length > 0);
    if (context.profile && first !== undefined) await profiledRun(one, first, state, { ...context, directory: pulled });
  } finally {
    await rm(pulled, { recursive: true, force: true });
  }
  for (const name of names) {
    if (state.runs[name].length === 0) continue;
    results[name] = {
      ...results[name],
      ...summary(state.runs[name]),
      ...growthOf(sides[name], inputs[sides[name].input ?? one.input]),
    };
    say(`${one.name}: ${name}: ${results[name].wall.toFixed(2)} s, ${results[name].cpu.toFixed(2)} CPU s`);
  }
  return results;
}

/** What a side's cost may grow with. */
const growthOf = ({ count }, { virtualSize, data }) => ({
  ...(virtualSize && { virtualSize }),
  ...(data && { data }),
  ...(count && { count }),
});

function isHopeless(name, runs) {
  const { group } = sides[name];
  if (group === undefined) return false;
  const first = Object.keys(runs)
    .filter((other) => sides[other].group === group && runs[other].length > 0)
    .map((other) => runs[other][0].wall);
  return runs[name].length === 0 || runs[name][0].wall > hopeless * Math.min(...first);
}

/** Reads what the sides will read, so that the first of them does not pay for the disk. */
async function warm(input) {
  await capture("bash", [
    "-c",
    '[ -d "$0" ] || cat "$0" > /dev/null; [ -z "$1" ] || node "$2" "$1" "$3" 0',
    input.path,
    input.raw ?? "",
    join(root, "bench/peers/sha256-floor.mjs"),
    input.extents ?? "",
  ]);
}

async function oneRun(one, name, state, context, profile = false) {
  const { inputs, work, signal, directory, oneCore, size } = context;
  const side = sides[name];
  const input = inputs[side.input ?? one.input];
  if (side.after !== undefined && state.pulled[side.after] === undefined)
    throw new Error(`${name} needs ${side.after} before it`);
  const workshop = await Workshop.open(signal, { parent: work, space: size === "full" ? 16 * 2 ** 30 : 2 ** 30 });
  try {
    const registry = await startRegistry(workshop);
    const origin = side.origin === undefined ? undefined : await startOrigin(side.origin, input.path, workshop);
    const [metricsPort] = await freePorts(1);
    const cwd = workshop.path("side");
    await mkdir(cwd);
    const env = {
      ...environment(input, { registry, origin, oneCore }),
      METRICS_PORT: String(side.latency ? metricsPort : 0),
      ...state.pulled[side.after],
    };
    // What earlier runs left to be written must not slow this one down.
    if (size !== "smoke") await run("sync", []);
    const servers = { registry: registry.pid, ...(origin && { origin: origin.pid }) };
    const watch = side.latency ? () => watchMetrics(metricsPort) : side.count ? watchMemory : undefined;
    const samples = workshop.path("perf.data");
    const figures = await measure({
      script: side.script,
      env,
      directory: cwd,
      servers,
      signal,
      watch,
      prefix: profile ? perfPrefix(samples) : [],
    });
    await rm(cwd, { recursive: true, force: true });
    state.results[name] ??= {};
    const result = state.results[name];
    if (profile) {
      result.profile = await profileOf(samples);
      result.threads = await threadsOf(samples);
      return;
    }
    state.runs[name].push(figures);
    if (side.latency) result.latency = Math.max(result.latency ?? 0, percentile(figures.watched, 0.99));
    if (side.count) result.memory = Math.max(result.memory ?? 0, figures.watched);
    const images = imagesOf(side, input).map((one) => ({ ...one, image: `${registry.address}/${one.repository}:1` }));
    if (images.length === 0) return;
    let stored = 0;
    for (const { image } of images) stored += await storedBytes(image);
    if (state.runs[name].length === 1)
      for (const one of images) await check(name, one, { state, workshop, directory, work, result });
    else if (stored !== result.stored && side.role === "ours")
      throw new Stop(`this run stored ${stored} bytes, the first ${result.stored}`);
    result.stored = stored;
  } catch (error) {
    if (signal.aborted) throw error;
    // One side that fails is a finding of its own and no reason to lose the others.
    state.results[name] = { failed: error.message };
    state.runs[name] = [];
    context.say(`${one.name}: ${name} FAILED: ${error.message}`);
  } finally {
    await workshop.close();
  }
}

/** One more run, under perf; its figures do not count. */
const profiledRun = (one, name, state, context) => oneRun(one, name, state, context, true);

const environment = (input, { registry, origin, oneCore }) => ({
  DVCR: root,
  REGISTRY: registry.address,
  URL: origin?.url ?? "",
  CERTIFICATES: origin?.certificates ?? "",
  ONE_CORE: oneCore?.procs ?? "",
  IMAGE: input.path,
  IMAGE_SHA256: input.fileSha256 ?? "",
  UNPACK: input.unpack ?? "",
  RAW: input.raw ?? "",
  EXTENTS: input.extents ?? "",
  VIRTUAL_SIZE: String(input.virtualSize ?? 0),
  BENCH_IMPORTER: process.env["BENCH_IMPORTER"] ?? "",
});

/** The images that a side stores, each with the digests its disk may have. */
function imagesOf(side, input) {
  if (side.repository !== undefined)
    return [{ repository: side.repository, wanted: { raw: input.sha256, verbatim: input.fileSha256 } }];
  return Array.from({ length: side.count ?? 0 }, (_, index) => ({
    repository: `bench/ours${index}`,
    wanted: { raw: input.disks[index % input.disks.length] },
  }));
}

/** Checks the first image of a side, and keeps it where another side works on it. */
async function check(name, { image, wanted }, { state, workshop, directory, work, result }) {
  const to = join(directory, name);
  const { found, layer, digest } = await verifyImage(image, {
    to,
    holds: sides[name].holds ?? "raw",
    wanted,
    known: join(work, "layers.json"),
    workshop,
  });
  result.holds = found;
  if (Object.values(sides).some((other) => other.after === name)) {
    const layout = join(directory, `${name}-layout`);
    await workshop.run("skopeo", ["copy", "--quiet", "--insecure-policy", `dir:${to}`, `oci:${layout}:bench`]);
    state.pulled[name] = { LAYOUT: layout, LAYER: layer, LAYER_DIGEST: digest };
  } else {
    await rm(to, { recursive: true });
  }
}
