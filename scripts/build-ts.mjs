/**
 * Compiles src/ into dist/, from nothing, so that no module of a deleted file stays behind. The console in dist/console
 * stays.
 */
import { existsSync, readdirSync, rmSync } from "node:fs";

import { inRoot } from "./lib/paths.mjs";
import { fail, isMain, run, Stop } from "./lib/process.mjs";
import { filesBelow, keyOf, stampHolds, writeStamp } from "./lib/stamp.mjs";

const stampPath = inRoot("dist/.built-from");

function tsKey() {
  const settings = ["tsconfig.json", "tsconfig.build.json", "node_modules/typescript/package.json"];
  return keyOf([...filesBelow(inRoot("src")), ...settings.map((name) => inRoot(name))]);
}

/** True when dist is what src gives. */
export function tsIsBuilt() {
  return existsSync(stampPath) && stampHolds(stampPath, tsKey());
}

/** Compiles and stamps dist. `log`: where the output goes, else the terminal. */
export async function buildTs(log) {
  const compiler = inRoot("node_modules/typescript/bin/tsc");
  if (!existsSync(compiler)) throw new Stop("typescript is not installed: run `npm ci` first", 2);
  const key = tsKey();
  for (const name of existsSync(inRoot("dist")) ? readdirSync(inRoot("dist")) : []) {
    if (name !== "console") rmSync(inRoot("dist", name), { recursive: true, force: true });
  }
  await run(process.execPath, [compiler, "-p", inRoot("tsconfig.build.json")], { log });
  writeStamp(stampPath, key);
}

if (isMain(import.meta)) await buildTs().catch(fail);
