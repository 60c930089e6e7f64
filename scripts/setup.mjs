/**
 * Makes a checkout ready: Debian packages, npm packages, the native addon, dist/. Plain Node, so that it runs before
 * anything is installed; what is done already is found out and skipped, in well under a second.
 *
 *   node scripts/setup.mjs [--for=demo|test|ci|bench|fuzz|image] [--quiet]
 *
 * DVCR_NO_APT=1 forbids installing Debian packages: what is missing is printed instead. Exit codes: 0 ready, 1 a step
 * failed, 2 something must be installed by hand.
 */
import { rmSync } from "node:fs";
import { parseArgs } from "node:util";

import { buildConsole, consoleIsBuilt } from "./build-console.mjs";
import { buildNative, nativeIsBuilt } from "./build-native.mjs";
import { buildTs, tsIsBuilt } from "./build-ts.mjs";
import {
  distribution,
  installedVersions,
  installPackages,
  rootPrefix,
  toolchainOf,
  toolchainVersions,
} from "./lib/debian.mjs";
import { dependenciesAreInstalled, installDependencies } from "./lib/dependencies.mjs";
import { inRoot } from "./lib/paths.mjs";
import { fail, findCommand, isMain, Stop } from "./lib/process.mjs";
import { commands, packagesFor, replaceable } from "./packages.mjs";

const log = inRoot("build/setup.log");
const oldestNode = [20, 19];

/** Brings the checkout to where `purpose` can run. Says what it does, unless `quiet` and there is nothing to do. */
export async function setup({ purpose = "test", quiet = false } = {}) {
  const started = performance.now();
  const wanted = packagesFor(purpose);
  requireNode();
  rmSync(log, { force: true });
  let steps = 0;
  const step = async (text, work) => {
    steps += 1;
    const from = performance.now();
    process.stdout.write(`set-up: ${text} ... `);
    try {
      await work();
    } catch (error) {
      process.stdout.write("failed\n");
      throw error;
    }
    process.stdout.write(`${seconds(from)}\n`);
  };

  const toolchain = await systemPackages(purpose, wanted, step);
  if (!dependenciesAreInstalled()) await step("installing npm packages", () => installDependencies(log));
  if (!nativeIsBuilt(toolchain)) await step("building the native core and addon", () => buildNative(toolchain, log));
  if (!tsIsBuilt()) await step("compiling TypeScript", () => buildTs(log));
  if (!consoleIsBuilt()) await step("building the web console", () => buildConsole(log));
  if (!quiet || steps > 0) {
    process.stdout.write(`set-up: ready in ${seconds(started)}${steps === 0 ? " (nothing to do)" : ""}\n`);
  }
}

/** Installs what is missing; returns the versions of what is linked into the addon. */
async function systemPackages(purpose, wanted, step) {
  const { isDebian, name } = distribution();
  if (!isDebian) {
    explainOtherSystem(purpose, wanted, name);
    return [];
  }
  const installed = await installedVersions(wanted);
  const isThere = (name) =>
    installed.has(name) || (name in replaceable && findCommand(replaceable[name]) !== undefined);
  const missing = wanted.filter((name) => !isThere(name));
  if (missing.length === 0) return toolchainOf(installed);
  const prefix = await rootPrefix(missing);
  await step(`installing Debian packages (${missing.join(" ")})`, () => installPackages(prefix, missing, log));
  return toolchainVersions();
}

/** Where there is no dpkg, the commands must be there; the libraries' names differ too much to be checked. */
function explainOtherSystem(purpose, wanted, name) {
  const missing = commands[purpose].filter((command) => findCommand(command) === undefined);
  if (missing.length === 0) return;
  throw new Stop(
    `${name} is not Debian, so nothing can be installed for you. Needed are CMake >= 3.25, Ninja, a C++20 compiler, ` +
      "liblzma >= 5.4, libzstd, libdeflate, libbz2 (each with its static library), ISA-L, zlib, " +
      "OpenSSL, GoogleTest and " +
      `the tools that Debian 12 calls: ${wanted.join(" ")}. Not found: ${missing.join(", ")}.`,
    2,
  );
}

function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1])) {
    throw new Stop(`Node ${oldestNode.join(".")} or newer is needed; this is ${process.versions.node}`, 2);
  }
}

const seconds = (from) => `${((performance.now() - from) / 1000).toFixed(1)} s`;

async function main() {
  const { values } = parseArgs({ options: { for: { type: "string", default: "test" }, quiet: { type: "boolean" } } });
  await setup({ purpose: values.for, quiet: values.quiet });
}

if (isMain(import.meta)) await main().catch(fail);
