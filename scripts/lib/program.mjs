/**
 * The compiled program with what it needs of node_modules, laid out as the container image and the packages hold it.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { inRoot } from "./paths.mjs";
import { capture, Stop } from "./process.mjs";

/** The programs in bin/, as package.json names them. */
export const executables = Object.keys(JSON.parse(readFileSync(inRoot("package.json"), "utf8")).bin);

/** Runs a command and returns its standard output; a failure is a Stop. */
export async function mustRun(command, ...args) {
  const { code, stdout, stderr } = await capture(command, args);
  if (code !== 0) throw new Stop(`${command} ${args[0]} failed: ${stderr.trim()}`);
  return stdout;
}

/** Copies the built program to `target`; the scripts in its bin/ begin with `shebang`, the path of a Node. */
export async function copyProgram(target, shebang) {
  for (const name of ["dist/importer/main.js", "build/native/dvcr.node"]) {
    if (!existsSync(inRoot(name))) throw new Stop(`${name} is not built: run \`npm run build\` first`, 2);
  }
  mkdirSync(join(target, "build/native"), { recursive: true });
  const isProgram = (path) => !/\.(?:map|d\.ts|d\.mts|d\.cts|tsbuildinfo)$|\/\.built-from$/.test(path);
  const copy = (path) => cpSync(inRoot(path), join(target, path), { recursive: true, filter: isProgram });
  for (const path of ["package.json", "LICENSE", "dist", ...productionModules()]) copy(path);
  await mustRun(
    "strip",
    "--strip-unneeded",
    "-o",
    join(target, "build/native/dvcr.node"),
    inRoot("build/native/dvcr.node"),
  );
  mkdirSync(join(target, "bin"));
  copy("bin/not-built.mjs");
  for (const name of executables) {
    const script = readFileSync(inRoot("bin", name), "utf8").replace(/^#!.*/, `#!${shebang}`);
    writeFileSync(join(target, "bin", name), script, { mode: 0o755 });
  }
}

/**
 * Paths of the modules that package-lock.json does not mark as for development; nested ones come with their parents.
 */
function productionModules() {
  const { packages } = JSON.parse(readFileSync(inRoot("package-lock.json"), "utf8"));
  const top = Object.entries(packages).filter(
    ([path, { dev }]) => /^node_modules\/(?:@[^/]+\/)?[^/]+$/.test(path) && !dev,
  );
  return top.map(([path]) => path).filter((path) => existsSync(inRoot(path)));
}
