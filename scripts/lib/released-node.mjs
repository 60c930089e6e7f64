/** The Node that goes into what is released: npm's package of its release binaries, downloaded once. */
import { mkdirSync } from "node:fs";

import { inRoot } from "./paths.mjs";
import { capture, run } from "./process.mjs";

const version = "24.9.0";

/** Path of the executable for this machine's architecture. What npm prints goes to the file `log`. */
export async function releasedNode(log) {
  const directory = inRoot("build/image-node");
  const name = `node-linux-${process.arch}`;
  const executable = `${directory}/node_modules/${name}/bin/node`;
  const present = await capture(executable, ["--version"]);
  if (present.stdout.trim() === `v${version}`) return executable;
  mkdirSync(directory, { recursive: true });
  const flags = ["--prefix", directory, "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  await run("npm", ["install", ...flags, `${name}@${version}`], { log });
  return executable;
}
