/**
 * What ESLint does not look at: clang-format over the C++ sources, and three rules for all sources: at most 500 lines,
 * no unfinished marks, no skipped or focused tests.
 */
import { readFileSync } from "node:fs";
import { relative } from "node:path";

import { inRoot, root } from "./lib/paths.mjs";
import { capture, fail, findCommand, Stop } from "./lib/process.mjs";
import { filesBelow } from "./lib/stamp.mjs";

const longest = 500;
const sourceDirectories = ["native", "src", "test", "bench", "scripts", "bin"];
// The benchmarks install packages of their own below bench/.
const isSource = (path) =>
  !relative(root, path).includes("node_modules/") &&
  /\.(cpp|h|ts|mjs|js|sh)$|CMakeLists\.txt$|\/bin\/[^./]+$/.test(path);
// Put together from parts, so that this file does not report itself.
const marks = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "X".repeat(3)].join("|")})\\b`);
const skipped = /\b(?:it|test|describe)\.(?:skip|only|todo)\(|\bGTEST_SKIP\b|\bTEST(?:_F|_P)?\(\w+, DISABLED_/;

function checkLines(path) {
  const lines = readFileSync(path, "utf8").split("\n");
  const name = relative(root, path);
  const problems = [];
  if (lines.length - 1 > longest) problems.push(`${name}: ${lines.length - 1} lines, more than ${longest}`);
  lines.forEach((line, index) => {
    if (marks.test(line)) problems.push(`${name}:${index + 1}: an unfinished mark`);
    if (skipped.test(line)) problems.push(`${name}:${index + 1}: a skipped or focused test`);
  });
  return problems;
}

async function checkFormat(files) {
  if (files.length === 0) return [];
  if (!findCommand("clang-format")) {
    throw new Stop("clang-format is missing: `npm run setup -- --for=ci` installs it", 2);
  }
  const { code, stderr } = await capture("clang-format", ["--dry-run", "-Werror", ...files]);
  return code === 0 ? [] : [stderr.trimEnd()];
}

async function main() {
  const files = sourceDirectories.flatMap((name) => filesBelow(inRoot(name))).filter(isSource);
  const cpp = files.filter((path) => /\.(cpp|h)$/.test(path));
  const problems = [...files.flatMap(checkLines), ...(await checkFormat(cpp))];
  if (problems.length > 0) throw new Stop(problems.join("\n"));
  process.stdout.write(`${files.length} sources checked, ${cpp.length} of them by clang-format\n`);
}

await main().catch(fail);
