/**
 * `npm run bench`: measures us beside the alternatives on the same files in the same run; bench/README.md explains it.
 *
 * Exit codes: 0 measured, 1 a side failed or stored a wrong image, 2 wrong usage. A missed target is a finding, not a
 * failure.
 */
import { spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { inRoot } from "../scripts/lib/paths.mjs";
import { fail, findCommand, run, Stop } from "../scripts/lib/process.mjs";
import { Workshop } from "../scripts/lib/workshop.mjs";
import { setup } from "../scripts/setup.mjs";
import { cases, smokeCases } from "./cases.mjs";
import { sizes } from "./inputs.mjs";
import { dependenciesAreThere } from "./lib/dependencies.mjs";
import { prepareInputs } from "./lib/inputs.mjs";
import { commit, machine, versions } from "./lib/machine.mjs";
import { makeOneCore } from "./lib/one-core.mjs";
import { seesScratch } from "./lib/measure.mjs";
import { caseText, judge } from "./lib/report.mjs";
import { requirePerf } from "./lib/profile.mjs";
import { keepResult, renewPages } from "./lib/results.mjs";
import { inputNames, runCase } from "./lib/run-case.mjs";
import { scaling } from "./scaling.mjs";

const usage = `usage: npm run bench -- [CASE…] [--size full|small|smoke] [--rounds N] [--work DIR] [--results DIR]
         [--profile] [--inputs-only] [--no-setup]
       npm run bench -- --smoke | --page

cases: ${cases.map((one) => one.name).join(" ")}
of scaling, all together "scaling": ${scaling.map((one) => one.name).join(" ")}
`;
const inNamespace = "BENCH_IN_NAMESPACE";

async function main() {
  const options = parse();
  if (options.page) {
    await renewPages();
    return;
  }
  if (options.profile) requirePerf();
  if (process.env[inNamespace] === undefined) {
    if (!options.noSetup) await prepare(options);
    // A network of our own: what goes over loopback is then ours alone.
    if (ownNetwork()) {
      process.exitCode = again();
      return;
    }
  }
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"])
    process.once(signal, () => stop.abort(new Stop(`stopped by ${signal}`, 130)));
  process.exitCode = await benchmark(options, stop.signal);
}

async function prepare({ size }) {
  await setup({ purpose: size === "smoke" ? "ci" : "bench", quiet: true });
  if (!dependenciesAreThere())
    await run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: inRoot("bench") });
}

function parse() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        size: { type: "string", default: "full" },
        rounds: { type: "string" },
        work: { type: "string", default: inRoot("bench/.work") },
        "inputs-only": { type: "boolean", default: false },
        smoke: { type: "boolean", default: false },
        profile: { type: "boolean", default: false },
        "no-setup": { type: "boolean", default: false },
        results: { type: "string" },
        page: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) throw new Stop(usage, 0);
    const size = values.smoke ? "smoke" : values.size;
    const all = [...(values.smoke ? smokeCases : cases), ...scaling];
    const wanted = positionals.flatMap((name) => (name === "scaling" ? scaling.map((one) => one.name) : [name]));
    const unknown = wanted.filter((name) => !all.some((one) => one.name === name));
    if (unknown.length > 0) throw new Stop(`no such case: ${unknown.join(", ")}\n${usage}`, 2);
    if (sizes[size] === undefined) throw new Stop(`--size must be one of ${Object.keys(sizes).join(", ")}`, 2);
    const rounds = Number(values.rounds ?? sizes[size].rounds);
    if (!Number.isInteger(rounds) || rounds < 1) throw new Stop("--rounds must be a number from 1", 2);
    const chosen = all.filter((one) => (wanted.length === 0 ? !scaling.includes(one) : wanted.includes(one.name)));
    return {
      chosen,
      size,
      rounds,
      work: resolve(values.work),
      inputsOnly: values["inputs-only"],
      profile: values.profile,
      page: values.page,
      noSetup: values["no-setup"],
      results: values.results,
    };
  } catch (error) {
    throw error instanceof Stop ? error : new Stop(`${error.message}\n${usage}`, 2);
  }
}

const ownNetwork = () =>
  findCommand("unshare") !== undefined &&
  findCommand("ip") !== undefined &&
  spawnSync("unshare", ["--net", "true"]).status === 0;

function again() {
  const script = 'ip link set lo up && exec "$0" "$@"';
  const child = spawnSync("unshare", ["--net", "sh", "-c", script, process.execPath, ...process.argv.slice(1)], {
    stdio: "inherit",
    env: { ...process.env, [inNamespace]: "1" },
  });
  return child.status ?? 1;
}

async function benchmark({ chosen, size, rounds, work, inputsOnly, profile, results }, signal) {
  const say = (text) => process.stdout.write(`${text}\n`);
  await mkdir(work, { recursive: true });
  const workshop = await Workshop.open(signal, { parent: work, space: size === "full" ? 40 * 2 ** 30 : 2 * 2 ** 30 });
  const oneCore = await makeOneCore();
  let failures = 0;
  try {
    const names = [...new Set(chosen.flatMap(inputNames))];
    const inputs = await prepareInputs(names, { size, directory: join(work, "inputs", size), workshop, say });
    if (inputsOnly) return 0;
    const facts = {
      date: new Date().toISOString().slice(0, 10),
      commit: await commit(),
      machine: machine(),
      versions: await versions(),
    };
    const scratchSeen = await seesScratch(workshop.directory);
    await warmUp(workshop);
    const measure = async (one) => {
      const sides = await runCase(one, {
        inputs,
        rounds,
        work,
        signal,
        say: size === "smoke" ? () => {} : say,
        oneCore,
        size,
        profile,
      });
      const { size: bytes, virtualSize } = inputs[one.input];
      const targets = judge(one, sides).map((target) =>
        target.text.startsWith("scratch") && !scratchSeen
          ? { text: target.text, open: "the work directory is on a file system that does not count" }
          : target,
      );
      const record = {
        name: one.name,
        title: one.title,
        size,
        ...facts,
        input: { size: bytes, virtualSize },
        sides,
        targets,
      };
      say(caseText(record));
      const failed = Object.entries(sides).filter(([, side]) => side.failed !== undefined);
      for (const [name, side] of failed) process.stderr.write(`${one.name}: ${name}: ${side.failed}\n`);
      failures += failed.length;
      if (size !== "smoke" || results !== undefined) await keepResult(record, results);
    };
    // Where no time counts, cases run side by side.
    const workers = size === "smoke" ? machine().cores : 1;
    const waiting = [...chosen];
    const worker = async () => {
      for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) await measure(one);
    };
    await Promise.all(Array.from({ length: workers }, worker));
  } finally {
    await oneCore?.remove();
    await workshop.close();
  }
  return failures === 0 ? 0 : 1;
}

/**
 * One import that does not count: the first start after a build reads files for the first time, which writes their
 * times.
 */
async function warmUp(workshop) {
  const image = workshop.path("warm-up");
  await writeFile(image, Buffer.alloc(2 ** 20, 1));
  await workshop.run(inRoot("bin/dvcr"), ["import", "--quiet", image, `oci:${workshop.path("warmed-up")}:1`]);
  for (const name of ["dvcr-importer", "dvcr-uploader"]) await workshop.run(inRoot("bin", name), ["--help"]);
}

await main().catch(fail);
