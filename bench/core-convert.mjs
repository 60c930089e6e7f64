/**
 * `npm run bench:core`: the core alone beside `qemu-img convert -O raw`, on the same files, in one run.
 *
 *   npm run bench:core -- [--size full|small] [--rounds N] [--work DIR] [--out DIR] [--inputs-only]
 *
 * Reading, decoding and writing a raw file with holes; no layer, no digest, no push. qemu-img runs with its defaults
 * and with
 * `-m 2 -W` (all its threads, out of order); targets are against the defaults, the ratio to the better of both is told
 * too. Inputs are those of `npm run bench`, kept in `--work`. Both sides write to `--out` (/dev/shm, so that no disk is
 * measured), into memory that was written to just before: a virtual machine gets its pages from the host one by one, at
 * up to ten times the cost of the whole conversion, and whoever came first would pay for it. Exit codes: 0 measured, 1
 * a wrong result, 2 usage.
 */
import { mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { buildCoreConvert } from "../scripts/build-native.mjs";
import { inRoot } from "../scripts/lib/paths.mjs";
import { capture, fail, Stop } from "../scripts/lib/process.mjs";
import { Workshop } from "../scripts/lib/workshop.mjs";
import { setup } from "../scripts/setup.mjs";
import { sizes } from "./inputs.mjs";
import { prepareInputs } from "./lib/inputs.mjs";
import { commit, machine, versions } from "./lib/machine.mjs";
import { measure } from "./lib/measure.mjs";
import { keepResult } from "./lib/results.mjs";
import { median } from "./lib/stats.mjs";

/** Inputs, and the most CPU that we may use of qemu-img's. */
const formats = [
  { input: "qcow2-zlib", text: "qcow2, zlib", mostCpu: 1 / 1.8 },
  { input: "qcow2-zstd", text: "qcow2, zstd", mostCpu: 1 },
  { input: "vmdk", text: "VMDK, streamOptimized", mostCpu: 1 / 1.8 },
  { input: "vdi", text: "VDI", mostCpu: 1 },
];

const sides = {
  core: '"$CORE" "$IMAGE" "$OUT"',
  "qemu-img": 'qemu-img convert -O raw "$IMAGE" "$OUT"',
  "qemu-img -m 2 -W": 'qemu-img convert -m 2 -W -O raw "$IMAGE" "$OUT"',
};

function parse() {
  const { values } = parseArgs({
    options: {
      size: { type: "string", default: "full" },
      rounds: { type: "string", default: "3" },
      work: { type: "string", default: inRoot("bench/.work") },
      out: { type: "string", default: "/dev/shm" },
      "inputs-only": { type: "boolean", default: false },
    },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Stop("--rounds must be a number from 1", 2);
  if (sizes[values.size] === undefined) throw new Stop(`--size must be one of ${Object.keys(sizes).join(", ")}`, 2);
  return { size: values.size, rounds, work: resolve(values.work), out: values.out, inputsOnly: values["inputs-only"] };
}

/** Every side once a round, in turn; medians by side. The first files of all must be the same to the byte. */
async function compare(image, { rounds, out, core, workshop, most }) {
  await capture("bash", ["-c", 'cat "$0" > /dev/null', image.path]);
  const runs = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
  const written = (name) => join(out, `${name.replaceAll(" ", "")}.raw`);
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, script] of Object.entries(sides)) {
      const target = written(name);
      await capture("bash", ["-c", 'head -c "$1" /dev/zero > "$0"; rm "$0"', target, String(Math.round(most))]);
      const { wall, cpu, rss } = await measure({
        script,
        directory: workshop.directory,
        env: { CORE: core, IMAGE: image.path, OUT: target },
      });
      runs[name].push({ wall, cpu, rss });
      if (name === "core" && round === 0) continue;
      if (round === 0) await mustBeSame(written("core"), target);
      await rm(target);
    }
    await rm(written("core"), { force: true });
  }
  return Object.fromEntries(Object.entries(runs).map(([name, all]) => [name, middle(all)]));
}

const middle = (runs) =>
  Object.fromEntries(["wall", "cpu", "rss"].map((figure) => [figure, median(runs.map((run) => run[figure]))]));

async function mustBeSame(one, other) {
  const { code, stdout } = await capture("qemu-img", ["compare", "-f", "raw", "-F", "raw", "-s", one, other]);
  if (code !== 0) throw new Stop(`${one} and ${other} differ: ${stdout.trim()}`);
}

/** How many times faster, and how much of the CPU, than `peers` at their best. */
function ratios(medians, peers) {
  const best = (figure) => Math.min(...peers.map((name) => medians[name][figure]));
  return { faster: best("wall") / medians.core.wall, cpuShare: medians.core.cpu / best("cpu") };
}

async function main() {
  const { size, rounds, work, out, inputsOnly } = parse();
  await setup({ purpose: "bench", quiet: true });
  const core = await buildCoreConvert(inRoot("build/setup.log"));
  await mkdir(work, { recursive: true });
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"])
    process.once(signal, () => stop.abort(new Stop(`stopped by ${signal}`, 130)));
  const workshop = await Workshop.open(stop.signal, { parent: work });
  const target = await Workshop.open(stop.signal, { parent: out, space: 2.5 * sizes[size].disk.data });
  try {
    const say = (text) => process.stdout.write(`${text}\n`);
    const inputs = await prepareInputs(
      formats.map((one) => one.input),
      { size, directory: join(work, "inputs", size), workshop, say },
    );
    if (inputsOnly) return;
    const results = [];
    for (const { input, text, mostCpu } of formats) {
      const image = inputs[input];
      const medians = await compare(image, {
        rounds,
        out: target.directory,
        core,
        workshop,
        most: 1.1 * sizes[size].disk.data,
      });
      const { faster, cpuShare } = ratios(medians, ["qemu-img"]);
      const best = ratios(
        medians,
        Object.keys(sides).filter((name) => name !== "core"),
      );
      const met = faster >= 1 && cpuShare <= mostCpu;
      results.push({
        input,
        bytes: image.size,
        virtualSize: image.virtualSize,
        sides: medians,
        faster,
        cpuShare,
        best,
        mostCpu,
        met,
      });
      const figures = Object.entries(medians).map(
        ([name, { wall, cpu }]) => `${name} ${wall.toFixed(2)} s ${cpu.toFixed(2)} CPU s`,
      );
      say(
        `${text.padEnd(24)} ${faster.toFixed(2)} times as fast, ${cpuShare.toFixed(2)} of the CPU: ` +
          `${met ? "met" : "MISSED"}; than its best ${best.faster.toFixed(2)} times (${figures.join(", ")})`,
      );
    }
    const record = {
      date: new Date().toISOString().slice(0, 10),
      commit: await commit(),
      machine: machine(),
      versions: await versions(),
      size,
      rounds,
      results,
    };
    await keepResult({ name: "core-convert", ...record });
  } finally {
    await target.close();
    await workshop.close();
  }
}

await main().catch(fail);
