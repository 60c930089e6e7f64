/** Where results are kept: one JSON file per case, the newest; docs/benchmarks.md is written from those of full size. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { inRoot } from "../../scripts/lib/paths.mjs";
import { cases } from "../cases.mjs";
import { markdown } from "./report.mjs";

const begin = "<!-- written by npm run bench; changes below are lost -->";
const end = "<!-- end of what npm run bench writes -->";

/** The file of one case's result. */
export const resultPath = (size, name) => inRoot("bench/results", ...(size === "full" ? [] : [size]), `${name}.json`);

/** Writes a result; one of full size also renews the page. */
export async function keepResult(record) {
  const path = resultPath(record.size, record.name);
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, `${JSON.stringify(record, null, 1)}\n`);
  if (record.size === "full") await renewPage();
}

async function renewPage() {
  const page = inRoot("docs/benchmarks.md");
  const records = [];
  for (const { name } of cases) {
    const text = await readFile(resultPath("full", name), "utf8").catch(() => undefined);
    if (text !== undefined) records.push(JSON.parse(text));
  }
  const old = await readFile(page, "utf8");
  const [before, rest] = old.split(begin);
  const after = rest?.split(end)[1];
  if (after === undefined) throw new Error(`${page} has lost its markers`);
  await writeFile(page, `${before}${begin}\n\n${markdown(records)}\n${end}${after}`);
}
