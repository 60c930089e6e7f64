/**
 * Fuzzing of every parser that reads untrusted bytes (libFuzzer, ASan, UBSan).
 *
 *   npm run fuzz -- TARGET SECONDS    builds, makes the corpus, fuzzes one target and prints its speed and coverage
 *   npm run fuzz -- --coverage        replays the corpus of every target and holds its line coverage to the floors
 *   npm run fuzz -- --ci [SECONDS]    the floors, then every target for a short time (10 s)
 *
 * TARGET `api` is the decoders of the service's API: JSON, YAML, protobuf, patches and selectors (fuzz-api.mjs).
 * `npm run setup -- --for=fuzz` installs what it needs. Targets run beside each other, one a core.
 * A finding is written to build/fuzz/findings; run the target with that file to see it again.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";

import { fuzzApi } from "./fuzz-api.mjs";
import { buildFuzz } from "./build-native.mjs";
import { inRoot } from "./lib/paths.mjs";
import { capture, fail, findCommand, run, Stop } from "./lib/process.mjs";

/**
 * One row a target. `maxBytes`: longest input. `sources`: what it tests, below native/core. `floor`: least part of the
 * lines of these that the generated corpus must reach (percent).
 */
const targets = {
  probe: {
    maxBytes: 72 << 10,
    sources: ["probe.cpp", "formats/refused.cpp", "formats/raw.cpp", "formats/no_disk.cpp", "formats/text_file.cpp"],
    floor: 96,
  },
  qcow2: {
    maxBytes: 192 << 10,
    sources: ["formats/qcow2.cpp", "formats/qcow2_header.cpp", "formats/qcow2_refcounts.cpp"],
    floor: 95,
  },
  vmdk: {
    maxBytes: 192 << 10,
    sources: [
      "formats/vmdk.cpp",
      "formats/vmdk_header.cpp",
      "formats/vmdk_grain.cpp",
      "formats/vmdk_tables.cpp",
      "formats/vmdk_stream.cpp",
      "formats/vmdk_lookahead.cpp",
    ],
    floor: 92,
  },
  vdi: { maxBytes: 128 << 10, sources: ["formats/vdi.cpp", "formats/block_map.cpp"], floor: 93 },
  vhd: {
    maxBytes: 128 << 10,
    sources: ["formats/vhd.cpp", "formats/vhd_fixed.cpp", "formats/vhd_footer.cpp"],
    floor: 94,
  },
  vhdx: {
    maxBytes: 96 << 10,
    sources: ["formats/vhdx.cpp", "formats/vhdx_header.cpp", "formats/vhdx_log.cpp"],
    floor: 89,
  },
  unpack: {
    maxBytes: 64 << 10,
    sources: [
      "unpack/decoder.cpp",
      "unpack/gzip.cpp",
      "unpack/xz.cpp",
      "unpack/zstd.cpp",
      "unpack/bzip2.cpp",
      "unpack/magic.cpp",
      "unpack/unpack_chain.cpp",
    ],
    floor: 85,
  },
  vmdk_descriptor: { maxBytes: 8 << 10, sources: ["formats/vmdk_descriptor.cpp", "formats/vmdk_text.cpp"], floor: 95 },
  archive: {
    maxBytes: 128 << 10,
    sources: [
      "archive_source.cpp",
      "archive_walk.cpp",
      "archive_member.cpp",
      "layer_files.cpp",
      "tar_members.cpp",
      "tar_reader.cpp",
    ],
    floor: 90,
  },
  ovf: { maxBytes: 8 << 10, sources: ["ovf.cpp"], floor: 95 },
};

const shortSeconds = 10;
/** The short runs take the same path each time: a change must not fail for what another change let in. */
const ciSeed = 1;
const built = (name) => inRoot("build/native-fuzz", name);
const place = (...names) => inRoot("build/fuzz", ...names);
const environment = (target) => ({
  ASAN_OPTIONS: "strict_string_checks=1:detect_stack_use_after_return=1:allocator_may_return_null=0",
  UBSAN_OPTIONS: "print_stacktrace=1",
  LLVM_PROFILE_FILE: place("profiles", `${target}.profraw`),
});

/** The corpus of one target, made anew: it depends on the makers alone. */
async function makeCorpus(target) {
  const directory = place("corpus", target);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const { code, stderr } = await capture(built("make_corpus"), [target, directory], {
    env: environment("make_corpus"),
  });
  if (code !== 0) throw new Stop(`the corpus of ${target} could not be made: ${stderr.trim()}`);
  return directory;
}

/** Runs a target with libFuzzer's flags; a finding ends everything. Returns the log's text. */
async function runTarget(target, flags, directories) {
  const log = place("logs", `${target}.log`);
  rmSync(log, { force: true });
  mkdirSync(place("findings"), { recursive: true });
  const limits = [`-max_len=${targets[target].maxBytes}`, "-timeout=60", "-rss_limit_mb=2048", "-malloc_limit_mb=128"];
  const findings = `-artifact_prefix=${place("findings", `${target}-`)}`;
  try {
    await run(built(`fuzz_${target}`), [...flags, ...limits, findings, ...directories], {
      env: environment(target),
      log,
    });
  } catch (error) {
    throw new Stop(`fuzzing ${target} found something.\n${error.message}`);
  }
  return readFileSync(log, "utf8");
}

async function fuzz(target, seconds, corpus, flags = []) {
  const found = place("found", target);
  mkdirSync(found, { recursive: true });
  const text = await runTarget(
    target,
    [`-max_total_time=${seconds}`, "-print_final_stats=1", ...flags],
    [found, corpus],
  );
  const number = (pattern) => /** @type {string} */ (pattern.exec(text)?.[1] ?? "?");
  const last = text.match(/cov: \d+ ft: \d+ corp: \d+/g)?.at(-1) ?? "";
  process.stdout.write(
    `${target.padEnd(16)} ${number(/stat::number_of_executed_units:\s+(\d+)/)} runs, ` +
      `${number(/stat::average_exec_per_sec:\s+(\d+)/)}/s, ${last}, no finding\n`,
  );
}

/** Debian names the tools with and without the version. */
function llvm(name) {
  const found = findCommand(name) ?? findCommand(`${name}-14`);
  if (found === undefined) throw new Stop(`${name} is missing: \`npm run setup -- --for=ci\` installs it`, 2);
  return found;
}

/** The part of the lines of the target's sources that its corpus reaches (percent). */
async function coverage(target, corpus) {
  rmSync(place("profiles", `${target}.profraw`), { force: true });
  await runTarget(target, ["-runs=0"], [corpus]);
  const profile = place("profiles", `${target}.profdata`);
  const merged = await capture(llvm("llvm-profdata"), [
    "merge",
    "-sparse",
    place("profiles", `${target}.profraw`),
    "-o",
    profile,
  ]);
  if (merged.code !== 0) throw new Stop(`llvm-profdata failed: ${merged.stderr}`);
  const sources = targets[target].sources.map((name) => inRoot("native/core", name));
  for (const source of sources)
    if (!existsSync(source)) throw new Stop(`${source}, whose coverage is measured, does not exist`);
  const report = await capture(llvm("llvm-cov"), [
    "export",
    "-summary-only",
    built(`fuzz_${target}`),
    `-instr-profile=${profile}`,
    ...sources,
  ]);
  if (report.code !== 0) throw new Stop(`llvm-cov failed: ${report.stderr}`);
  const { lines } = JSON.parse(report.stdout).data[0].totals;
  return { percent: (100 * lines.covered) / lines.count, lines: lines.count };
}

/** Replays the generated corpus of `target` and prints its line coverage; false when that is below the floor. */
async function holdsFloor(target, corpus) {
  const { percent, lines } = await coverage(target, corpus);
  const { floor } = targets[target];
  const inputs = readdirSync(corpus).length;
  process.stdout.write(
    `${target.padEnd(16)} ${percent.toFixed(1)} % of ${lines} lines from ${inputs} inputs (floor ${floor} %)\n`,
  );
  return percent >= floor;
}

/** Holds every target to its floor and, with `seconds`, fuzzes it for so long: one target a core at a time. */
async function checkAll(seconds) {
  const waiting = Object.keys(targets);
  const below = [];
  const lane = async () => {
    for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
      const corpus = await makeCorpus(target);
      const started = performance.now();
      if (!(await holdsFloor(target, corpus))) below.push(target);
      // libFuzzer reads the corpus once more before it changes anything, and counts that.
      const replay = Math.ceil((performance.now() - started) / 1000);
      if (seconds > 0) await fuzz(target, seconds + replay, corpus, [`-seed=${ciSeed}`]);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, lane));
  if (below.length > 0) throw new Stop(`line coverage is below its floor: ${below.join(", ")}`);
}

/** The decoders of the service's API, which are JavaScript. */
async function fuzzTheApi(seconds) {
  const done = await fuzzApi({ seconds, seed: ciSeed });
  for (const [name, rounds] of Object.entries(done)) process.stdout.write(`api ${name}: ${rounds} inputs\n`);
}

async function main() {
  const { values, positionals } = parseArgs({
    options: { coverage: { type: "boolean" }, ci: { type: "boolean" } },
    allowPositionals: true,
  });
  if (values.ci || values.coverage) {
    const seconds = values.ci ? Number(positionals[0] ?? shortSeconds) : 0;
    if (values.ci && !(seconds > 0)) throw new Stop("SECONDS must be a number above 0", 2);
    if (seconds > 0) await fuzzTheApi(seconds);
    await buildFuzz(place("logs", "build.log"));
    return checkAll(seconds);
  }
  const [target, seconds] = positionals;
  if (target === "api" && Number(seconds) > 0) return fuzzTheApi(Number(seconds));
  if (target === undefined || !(target in targets) || !(Number(seconds) > 0)) {
    throw new Stop(`usage: npm run fuzz -- TARGET SECONDS\ntargets: ${[...Object.keys(targets), "api"].join(", ")}`, 2);
  }
  await buildFuzz(place("logs", "build.log"));
  await fuzz(target, Number(seconds), await makeCorpus(target));
}

await main().catch(fail);
