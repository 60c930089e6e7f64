/** Lower folders never import higher ones, and what docs/architecture.md names exists. */
import { appendFileSync, cpSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

import { floors, floorTable, shared } from "../scripts/floors.mjs";
import { styleProblems, textsOf, wordsOf } from "../scripts/style.mjs";
import { temporaryDirectory, tool } from "./support/tools.ts";

const project = fileURLToPath(new URL("..", import.meta.url));
const architecture = readFileSync(join(project, "docs/architecture.md"), "utf8");

/** What lint says of the imports below `directory`: one line per problem. */
async function lint(directory: string): Promise<string[]> {
  const script = `node "$1" "$2" 2>&1; echo "exit $?"`;
  const output = await tool("sh", "-c", script, "sh", join(project, "scripts/lint-imports.mjs"), directory);
  return output.trim().split("\n");
}

function copyTo(directory: string): void {
  for (const root of Object.keys(floors)) cpSync(join(project, root), join(directory, root), { recursive: true });
}

/** A file of `unit`: itself, or one that is in it. */
function fileIn(directory: string, unit: string): string {
  const path = join(directory, unit);
  if (statSync(path).isFile()) return path;
  const names = readdirSync(path, { recursive: true }) as string[];
  return join(
    path,
    names.find((name) => /\.tsx?$/.test(name))!,
  );
}

it("lint passes on the tree: no import of a higher floor, no circle", async () => {
  expect(await lint(project)).toEqual(["exit 0"]);
  const { scripts } = JSON.parse(readFileSync(join(project, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  expect(scripts.lint).toContain("node scripts/lint-imports.mjs");
});

it("lint names each forbidden import: one for every pair of folders", async () => {
  await using copy = await temporaryDirectory();
  copyTo(copy.path);
  const added: string[] = [];
  for (const [root, table] of Object.entries(floors)) {
    const units = table.flatMap((row, floor) => row.map((unit) => ({ unit, floor })));
    const directory = join(copy.path, root);
    for (const from of units) {
      for (const to of units) {
        if (from === to || to.floor < from.floor) continue;
        const target = fileIn(directory, to.unit);
        const path = statSync(join(directory, from.unit)).isFile()
          ? join(directory, from.unit)
          : join(directory, from.unit, `to-${to.unit.replace("/", "-")}.ts`);
        // A dynamic import counts as well.
        const line = added.length % 2 === 0 ? `import "SPEC";\n` : `await import("SPEC");\n`;
        const specifier = `./${relative(dirname(path), target)}`.replace("./..", "..");
        appendFileSync(path, line.replace("SPEC", specifier));
        added.push(
          `${relative(copy.path, path)}: ${from.unit} imports ${to.unit}, which is not on a lower ` +
            `floor (docs/architecture.md, "Floors")`,
        );
      }
    }
  }
  const found = await lint(copy.path);
  expect(found.at(-1)).toBe("exit 1");
  expect(added.length).toBeGreaterThan(300);
  expect(added.filter((problem) => !found.includes(problem))).toEqual([]);
}, 60_000);

it("lint names a circle, a folder on no floor, and what the console takes from the service", async () => {
  await using copy = await temporaryDirectory();
  copyTo(copy.path);
  const at = (path: string): string => join(copy.path, path);
  writeFileSync(at("src/retry/a.ts"), `import type { B } from "./b.ts";\nexport type A = B;\n`);
  writeFileSync(at("src/retry/b.ts"), `import type { A } from "./a.ts";\nexport type B = A;\n`);
  cpSync(at("src/retry"), at("src/fresh"), { recursive: true });
  writeFileSync(at("console/src/api/c.ts"), `import "../../../src/service/store/store.ts";\n`);
  const found = await lint(copy.path);
  expect(found).toContain("circle: src/retry/a.ts -> src/retry/b.ts -> src/retry/a.ts");
  expect(found).toContain("src/fresh/a.ts: src/fresh/a.ts is on no floor: add its folder to scripts/floors.mjs");
  expect(found).toContain(
    "console/src/api/c.ts: api imports src/service/store/store.ts, which is outside of console/src",
  );
});

/** What the console has that imports nothing. */
const foreignFiles = new Set(["favicon.svg", "styles"]);

it("the table of floors names each folder once, and docs/architecture.md shows it", () => {
  for (const [root, table] of Object.entries(floors)) {
    const units = table.flat();
    expect(new Set(units).size).toBe(units.length);
    const entries = readdirSync(join(project, root)).filter((name) => name !== "service" && !foreignFiles.has(name));
    const service = root === "src" ? readdirSync(join(project, root, "service")).map((name) => `service/${name}`) : [];
    expect(units.toSorted()).toEqual([...entries, ...service].toSorted());
    expect(architecture).toContain(floorTable(root));
  }
  for (const path of Object.values(shared).flat()) expect(existsSync(join(project, path)), path).toBe(true);
});

/** Names in CamelCase that are none of ours. */
const foreign = ["JavaScript", "OpenAPI", "TypeScript"];

it("whatever docs/architecture.md names exists: files, folders, types and functions", () => {
  const sources = ["src", "native", "console/src"].flatMap((root) =>
    (readdirSync(join(project, root), { recursive: true }) as string[])
      .filter((name) => /\.(?:tsx?|h|cpp)$/.test(name))
      .map((name) => readFileSync(join(project, root, name), "utf8")),
  );
  const isDefined = (name: string): boolean => {
    const definition = new RegExp(`\\b(?:class|struct|interface|type|function|const|using) ${name}\\b`);
    return sources.some((text) => definition.test(text));
  };
  const names = new Set(architecture.match(/\b[A-Z][a-z]+[A-Z][A-Za-z]+\b/g));
  expect([...names].filter((name) => !foreign.includes(name) && !isDefined(name))).toEqual([]);
  expect(isDefined("HashTee")).toBe(false);

  const paths = [...architecture.matchAll(/`((?:src|native|console|docs|service|scripts|test)\/[\w./-]*)`/g)];
  const found = (path: string): boolean =>
    ["", ".h", ".ts"].some((end) => [path, `src/${path}`].some((one) => existsSync(join(project, one + end))));
  expect(paths.map(([, path]) => path!).filter((path) => !found(path))).toEqual([]);
  expect(paths.length).toBeGreaterThan(30);
});

it("the ten steps from socket to registry are each a file with that function in it", () => {
  const rows = [...architecture.matchAll(/^\| (\d+) \|.*\| `([^`]+)` \| `([^`]+)` \|$/gm)];
  expect(rows.map(([, step]) => Number(step))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  for (const [, , file, name] of rows) {
    const text = readFileSync(join(project, file!), "utf8");
    expect(text, `${file!} ${name!}`).toMatch(new RegExp(`\\b${name!}(?:\\(|::)`));
  }
});

it("no user-facing text has a word that docs/style.md lists", () => {
  expect(styleProblems(project)).toEqual([]);
  expect(wordsOf(readFileSync(join(project, "docs/style.md"), "utf8")).length).toBeGreaterThan(10);
  const source = "const a = `one at once ${b}`; // heed";
  expect(textsOf("a.ts", source)).toEqual(["one at once ", ""]);
});
