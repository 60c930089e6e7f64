/** Builds the web console from console/ into dist/console, where src/service/console serves it from. */
import { existsSync } from "node:fs";

import { inRoot } from "./lib/paths.mjs";
import { fail, isMain, run, Stop } from "./lib/process.mjs";
import { dropStamp, filesBelow, keyOf, stampHolds, writeStamp } from "./lib/stamp.mjs";

const stampPath = inRoot("dist/console/.built-from");

function consoleKey() {
  const settings = [
    "tsconfig.json",
    "src/service/model/image.ts",
    "node_modules/vite/package.json",
    "node_modules/preact/package.json",
    "node_modules/@preact/signals/package.json",
  ];
  return keyOf([...filesBelow(inRoot("console")), ...settings.map((name) => inRoot(name))]);
}

/** True when dist/console is what console/ gives. */
export function consoleIsBuilt() {
  return existsSync(stampPath) && stampHolds(stampPath, consoleKey());
}

/** Bundles and stamps the console. `log`: where the output goes, else the terminal. */
export async function buildConsole(log) {
  const bundler = inRoot("node_modules/vite/bin/vite.js");
  if (!existsSync(bundler)) throw new Stop("vite is not installed: run `npm ci` first", 2);
  const key = consoleKey();
  dropStamp(stampPath);
  await run(process.execPath, [bundler, "build", "--config", inRoot("console/vite.config.js")], { log });
  writeStamp(stampPath, key);
}

if (isMain(import.meta)) await buildConsole().catch(fail);
