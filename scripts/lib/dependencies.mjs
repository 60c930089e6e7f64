import { lstatSync, readFileSync } from "node:fs";

import { inRoot, root } from "./paths.mjs";
import { run, Stop } from "./process.mjs";

/**
 * True when node_modules holds what package-lock.json asks for. npm writes what it installed to a lock file of its own
 * inside node_modules, so no stamp of ours is needed and a plain `npm ci` or `npm install` counts.
 */
export function dependenciesAreInstalled() {
  const wanted = packagesOf("package-lock.json");
  const present = packagesOf("node_modules/.package-lock.json");
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === "") return true;
    const found = present[path];
    // What is built for other platforms is not installed here.
    if (found === undefined) return entry.optional === true;
    return found.version === entry.version && found.integrity === entry.integrity;
  });
}

/** Runs `npm ci`. A node_modules that is a link belongs to another checkout and is never touched. */
export async function installDependencies(log) {
  if (lstatSync(inRoot("node_modules"), { throwIfNoEntry: false })?.isSymbolicLink()) {
    throw new Stop("node_modules is a link and does not match package-lock.json: run `npm ci` where it points to", 2);
  }
  await run("npm", ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=warn"], { cwd: root, log });
}

function packagesOf(name) {
  try {
    return JSON.parse(readFileSync(inRoot(name), "utf8")).packages ?? {};
  } catch {
    return {};
  }
}
