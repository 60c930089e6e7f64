/**
 * Builds the native code with CMake and Ninja.
 *
 *   node scripts/build-native.mjs                     build/native: dvcr.node and core_test
 *   node scripts/build-native.mjs --test              the same, then runs core_test
 *   node scripts/build-native.mjs --sanitize --test   build/native-san: core_test under ASan and UBSan
 *   node scripts/build-native.mjs --fuzz              build/native-fuzz: the libFuzzer targets (clang)
 *
 * What follows `--` is handed to core_test, for example --gtest_filter=Qcow2*.
 */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { parseArgs } from "node:util";

import { inRoot } from "./lib/paths.mjs";
import { fail, findCommand, isMain, run, Stop } from "./lib/process.mjs";
import { dropStamp, filesBelow, keyOf, stampHolds, writeStamp } from "./lib/stamp.mjs";

const stampPath = inRoot("build/native/.built-from");
const headerPackages = ["node-addon-api", "node-api-headers"];

/** The key of the ordinary build: sources, headers from npm, and `toolchain` (versions of the libraries linked in). */
function nativeKey(toolchain) {
  const headers = headerPackages.map((name) => inRoot("node_modules", name, "package.json"));
  return keyOf([...filesBelow(inRoot("native")), ...headers], [process.arch, ...toolchain]);
}

/** True when build/native is what these sources give. */
export function nativeIsBuilt(toolchain) {
  return existsSync(inRoot("build/native/dvcr.node")) && stampHolds(stampPath, nativeKey(toolchain));
}

/** Builds build/native and stamps it. `log`: where the output goes, else the terminal. */
export async function buildNative(toolchain, log) {
  requireTools(["cmake", "ninja", process.env["CXX"] ?? "g++"]);
  const key = nativeKey(toolchain);
  dropStamp(stampPath);
  await cmakeBuild("build/native", ["-DCMAKE_BUILD_TYPE=RelWithDebInfo"], { log });
  writeStamp(stampPath, key);
}

/** Builds what converts a file with the core alone, for bench/core-convert.mjs; returns its path. */
export async function buildCoreConvert(log) {
  requireTools(["cmake", "ninja", process.env["CXX"] ?? "g++"]);
  await cmakeBuild("build/native", ["-DCMAKE_BUILD_TYPE=RelWithDebInfo"], { log, targets: ["core_convert"] });
  return inRoot("build/native/core_convert");
}

/** Builds the fuzz targets and the maker of their corpus. `log`: where the output goes, else the terminal. */
export async function buildFuzz(log) {
  requireTools(["cmake", "ninja", "clang++"]);
  await cmakeBuild("build/native-fuzz", ["-DDVCR_FUZZ=ON", "-DDVCR_SANITIZE=ON"], { env: { CXX: "clang++" }, log });
}

/** Configures one directory and builds `targets` of it, all by default. */
async function cmakeBuild(directory, options, { env, log, targets = [] } = {}) {
  for (const name of headerPackages) {
    if (!existsSync(inRoot("node_modules", name))) throw new Stop(`${name} is not installed: run \`npm ci\` first`, 2);
  }
  const build = inRoot(directory);
  dropForeignCache(build);
  const modules = `-DDVCR_NODE_MODULES=${inRoot("node_modules")}`;
  await run("cmake", ["-S", inRoot("native"), "-B", build, "-G", "Ninja", modules, ...options], { env, log });
  await run("ninja", ["-C", build, "-j", String(jobs()), ...targets], { log });
}

/** A checkout that was moved or copied carries a cache that CMake refuses; the build starts anew there. */
function dropForeignCache(build) {
  const cache = `${build}/CMakeCache.txt`;
  if (!existsSync(cache)) return;
  const home = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, "utf8"))?.[1];
  if (home !== inRoot("native")) rmSync(build, { recursive: true, force: true });
}

/** One compiler per core, but not more than memory carries: a sanitized unit takes close to 1 GiB. */
function jobs() {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(totalmem() / 2 ** 30)));
}

function requireTools(tools) {
  const missing = tools.filter((tool) => findCommand(tool) === undefined);
  if (missing.length > 0) {
    throw new Stop(
      `missing to build the native code: ${missing.join(", ")}. \`npm run setup\` installs what is needed.`,
      2,
    );
  }
}

async function runCoreTest(directory, args) {
  const binary = inRoot(directory, "core_test");
  if (!existsSync(binary)) throw new Stop(`${binary} was not built: native/test holds no test`);
  const env = {
    ASAN_OPTIONS: "strict_string_checks=1:detect_stack_use_after_return=1",
    UBSAN_OPTIONS: "print_stacktrace=1",
  };
  await run(binary, args, { env });
}

async function main() {
  const { values, positionals } = parseArgs({
    options: { sanitize: { type: "boolean" }, test: { type: "boolean" }, fuzz: { type: "boolean" } },
    allowPositionals: true,
  });
  if (values.fuzz) return buildFuzz();
  if (values.sanitize) {
    requireTools(["cmake", "ninja", process.env["CXX"] ?? "g++"]);
    await cmakeBuild("build/native-san", ["-DDVCR_SANITIZE=ON"]);
  } else {
    const { toolchainVersions } = await import("./lib/debian.mjs");
    await buildNative(await toolchainVersions());
  }
  if (values.test) await runCoreTest(values.sanitize ? "build/native-san" : "build/native", positionals);
}

if (isMain(import.meta)) await main().catch(fail);
