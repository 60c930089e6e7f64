/** The lint of texts and of lines finds what is planted, in every folder that it says it reads. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";

import { temporaryDirectory } from "../support/tools.ts";
import { lineProblems, pageProblems, styleProblems, userFacing } from "../../scripts/style.mjs";

const page = '## Words\n\n| "heed" | obey |\n| "would else" | would otherwise |\n\n## Before and after\n';

async function plant(project: string, path: string, text: string): Promise<void> {
  await mkdir(dirname(join(project, path)), { recursive: true });
  await writeFile(join(project, path), text);
}

it("a listed word is found in a text of every user-facing folder, and not in comments and names", async () => {
  await using project = await temporaryDirectory();
  await plant(project.path, "docs/style.md", page);
  for (const folder of userFacing) {
    await plant(project.path, `${folder}/a.ts`, "// heed\nexport const heed = `it would\n  else ${1} stop`;\n");
    await plant(project.path, `${folder}/b.tsx`, "export const B = () => <p>They heed it.</p>;\n");
    await plant(project.path, `${folder}/c.ts`, 'export const heed = "unheeded";\n');
  }
  const found = styleProblems(project.path).map((line: string) => line.split(":")[0]);
  expect(found.sort()).toEqual(userFacing.flatMap((folder: string) => [`${folder}/a.ts`, `${folder}/b.tsx`]).sort());
});

it("a line of 121 columns is found, one of 120 is not", async () => {
  await using project = await temporaryDirectory();
  const folders = ["src", "console/src", "test", "bench", "scripts"];
  for (const folder of folders)
    await plant(project.path, `${folder}/a.mjs`, `${"й".repeat(120)}\n//\n${"x".repeat(121)}\n`);
  expect(lineProblems(project.path)).toEqual(folders.map((folder) => `${folder}/a.mjs:3: 121 columns`));
});

it(
  "a listed word is found on every page, and not in code, in names of tests and in what " + "benchmarks write",
  async () => {
    await using project = await temporaryDirectory();
    const pages = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "bench/README.md", "docs/any.md"];
    await plant(project.path, "docs/style.md", page);
    for (const name of pages) await plant(project.path, name, "Fine.\n```\nheed\n```\n`heed` and heed.\n");
    await plant(project.path, "docs/contract.md", "| item | kept | heed | heed |\n| item | kept | | test: heed |\n");
    await plant(project.path, "docs/benchmarks.md", "# heed\n| heed |\nheed\n");
    expect(pageProblems(project.path).sort()).toEqual(
      [
        ...pages.map((name) => `${name}:5: "heed"`),
        'docs/contract.md:1: "heed"',
        'docs/benchmarks.md:3: "heed"',
      ].sort(),
    );
  },
);
