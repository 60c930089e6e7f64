import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

import { root } from "./paths.mjs";

/** Every regular file below the directory `path`, sorted, absolute; none where it does not exist. */
export function filesBelow(path) {
  if (!existsSync(path)) return [];
  const entries = readdirSync(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** A digest of the names and contents of `paths` and of `extra`, equal on every machine for equal sources. */
export function keyOf(paths, extra = []) {
  const hash = createHash("sha256");
  for (const text of extra) hash.update(`${text}\0`);
  for (const path of paths) {
    const content = readFileSync(path);
    hash.update(`${relative(root, path)}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

/** True when the stamp at `path` holds `key`: what was built from it is still good. */
export function stampHolds(path, key) {
  try {
    return readFileSync(path, "utf8") === key;
  } catch {
    return false;
  }
}

/** Records that everything under the stamp was built from `key`. */
export function writeStamp(path, key) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, key);
}

/** Forgets the stamp before a build, so that a build that was cut off is not taken for a finished one. */
export function dropStamp(path) {
  rmSync(path, { force: true });
}
