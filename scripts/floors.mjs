// Which folder may import which: the table that docs/architecture.md shows and lint checks.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, extname, join, relative, resolve, sep } from "node:path";
import ts from "typescript";

/**
 * Lowest first. A folder, or a file at the root, imports from lower floors only, and not from its neighbours on the
 * same one. A folder stands for all that is in it, but for `service`, whose parts have floors of their own.
 */
export const floors = {
  src: [
    ["errors", "layer"],
    ["retry", "native"],
    ["log", "outbound"],
    ["registry"],
    ["destination", "disk", "source"],
    ["pipeline"],
    ["config", "copy", "endpoints", "metrics"],
    ["termination"],
    ["process"],
    ["importer", "pvc-importer", "uploader"],
    ["service/model", "service/security"],
    ["service/store", "service/uploads"],
    ["service/images"],
    ["service/executor", "service/api", "service/console", "service/distribution"],
    ["service/operations", "service/reconcile"],
    ["service/gc"],
    ["service/server"],
    ["service/restore"],
    ["cli"],
  ],
  "console/src": [
    ["memory.ts", "router.ts", "session.ts"],
    ["theme.ts", "api"],
    ["model"],
    ["uploads"],
    ["components"],
    ["pages"],
    ["app.tsx"],
    ["main.tsx"],
  ],
};

/** What a root takes from another: the console shares types with the service. */
export const shared = { "console/src": ["src/service/model", "src/service/console/console-status.ts"] };

/** @returns {string | undefined} which folder of the table `path`, below its root, belongs to. */
function unitOf(path, table) {
  const parts = path.split("/");
  return [parts.slice(0, 2).join("/"), parts[0]].find((unit) => table.flat().includes(unit));
}

/** Why the file `from` may not import the file `to`, both relative to the project; nothing where it may. */
export function importProblem(from, to) {
  const root = Object.keys(floors).find((one) => from.startsWith(`${one}/`));
  if (root === undefined) return undefined;
  const table = floors[root];
  const source = unitOf(from.slice(root.length + 1), table);
  if (source === undefined) return `${from} is on no floor: add its folder to scripts/floors.mjs`;
  if (!to.startsWith(`${root}/`))
    return (shared[root] ?? []).some((one) => to === one || to.startsWith(`${one}/`))
      ? undefined
      : `${source} imports ${to}, which is outside of ${root}`;
  const target = unitOf(to.slice(root.length + 1), table);
  if (target === undefined) return `${to} is on no floor: add its folder to scripts/floors.mjs`;
  const floorOf = (unit) => table.findIndex((units) => units.includes(unit));
  if (source === target || floorOf(target) < floorOf(source)) return undefined;
  return `${source} imports ${target}, which is not on a lower floor (docs/architecture.md, "Floors")`;
}

/** Every relative import of every file: [from, to], relative to `project`. */
function importsOf(project) {
  const all = [];
  for (const root of Object.keys(floors)) {
    const directory = join(project, root);
    for (const name of readdirSync(directory, { recursive: true }).filter((one) => /\.tsx?$/.test(one))) {
      const file = join(directory, name);
      for (const { fileName } of ts.preProcessFile(readFileSync(file, "utf8"), true, true).importedFiles)
        if (fileName.startsWith(".") && /^\.tsx?$/.test(extname(fileName)))
          all.push(
            [file, resolve(dirname(file), fileName)].map((path) => relative(project, path).replaceAll(sep, "/")),
          );
    }
  }
  return all;
}

/** Circles among files: each as the list of those that lie on it. */
function circles(imports) {
  const targets = new Map();
  for (const [from, to] of imports) targets.set(from, [...(targets.get(from) ?? []), to]);
  const state = new Map();
  const found = [];
  const visit = (file, path) => {
    if (state.get(file) === "open") found.push([...path.slice(path.indexOf(file)), file]);
    if (state.has(file)) return;
    state.set(file, "open");
    for (const to of targets.get(file) ?? []) visit(to, [...path, file]);
    state.set(file, "done");
  };
  for (const file of targets.keys()) visit(file, []);
  return found;
}

/** Everything that is wrong with the imports of `project`, a line each. */
export function importProblems(project) {
  const imports = importsOf(project);
  const all = [
    ...imports.flatMap(([from, to]) => {
      const problem = importProblem(from, to);
      return problem === undefined ? [] : [`${from}: ${problem}`];
    }),
    ...circles(imports).map((files) => `circle: ${files.join(" -> ")}`),
  ];
  return [...new Set(all)];
}

/** The table as docs/architecture.md shows it. */
export function floorTable(root) {
  const rows = floors[root].map(
    (units, index) => `| ${index + 1} | ${units.map((unit) => `\`${unit}\``).join(", ")} |`,
  );
  return ["| floor | folders |", "|---|---|", ...rows].join("\n");
}
