/**
 * Where results are kept: one JSON file per case, the newest; two pages of docs/ are written from those of full size.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { inRoot } from "../../scripts/lib/paths.mjs";
import { cases } from "../cases.mjs";
import { scaling } from "../scaling.mjs";
import { coreMarkdown } from "./core-report.mjs";
import { markdown } from "./report.mjs";
import { scalingMarkdown } from "./scaling-report.mjs";

const pages = [
  { page: "docs/benchmarks.md", by: "npm run bench", of: cases, render: markdown },
  { page: "docs/benchmarks.md", by: "npm run bench:core", of: [{ name: "core-convert" }], render: coreMarkdown },
  { page: "docs/scaling.md", by: "npm run bench", of: scaling, render: scalingMarkdown },
];

/** Where results of full size are kept; others have a directory below, which git does not see. */
const fullResults = inRoot("bench/results");

/** Writes a result, into `directory` or where it belongs; one of full size that is kept there also renews the pages. */
export async function keepResult(record, directory) {
  const place = directory ?? (record.size === "full" ? fullResults : join(fullResults, "tmp", record.size));
  await mkdir(place, { recursive: true });
  await writeFile(join(place, `${record.name}.json`), `${JSON.stringify(record, null, 1)}\n`);
  if (place === fullResults) await renewPages();
}

/** Writes the tables of the pages again, from the results as they are. */
export async function renewPages() {
  for (const { page, by, of, render } of pages) {
    const [begin, end] = [`<!-- written by ${by}; changes below are lost -->`, `<!-- end of what ${by} writes -->`];
    const records = [];
    for (const { name } of of) {
      const text = await readFile(join(fullResults, `${name}.json`), "utf8").catch(() => undefined);
      if (text !== undefined) records.push(JSON.parse(text));
    }
    const [before, rest] = (await readFile(inRoot(page), "utf8")).split(begin);
    const after = rest?.split(end)[1];
    if (records.length === 0) continue;
    if (after === undefined) throw new Error(`${page} has lost its markers`);
    await writeFile(inRoot(page), `${before}${begin}\n\n${render(records)}\n${end}${after}`);
  }
}
