/** `dvcr help X`, `dvcr X --help` and completion show the options of the processes, from the tables of src/config. */
import { expect, it } from "vitest";

import { gcFlags, restoreFlags } from "../src/config/data-flags.ts";
import { importerFields } from "../src/config/importer-config.ts";
import { serveFields } from "../src/config/serve-config.ts";
import { uploaderFields } from "../src/config/uploader-config.ts";
import { dvcr } from "./support/cli.ts";

type Table = readonly { readonly flag?: string; readonly description: string }[];

const tables: readonly (readonly [string, Table])[] = [
  ["serve", Object.values(serveFields)],
  ["gc", gcFlags],
  ["restore", restoreFlags],
  ["uploader", Object.values(uploaderFields)],
  ["importer", Object.values(importerFields)],
];

it.each(tables)("dvcr %s: help and completion show the same options", async (name, table) => {
  const flags = table.flatMap(({ flag }) => (flag === undefined ? [] : [flag.length === 1 ? `-${flag}` : `--${flag}`]));
  const [helped, asked, short, completed] = await Promise.all([
    dvcr(["help", name]),
    dvcr([name, "--help"]),
    dvcr([name, "-h"]),
    dvcr(["complete", "--", name, ...(["gc", "restore"].includes(name) ? ["check"] : []), "--"]),
  ]);
  expect([helped.code, asked.code, short.code, completed.code]).toEqual([0, 0, 0, 0]);
  expect(asked.stdout).toBe(helped.stdout);
  expect(short.stdout).toBe(helped.stdout);
  for (const { description } of table) expect(helped.stdout).toContain(description);
  for (const flag of flags) expect(helped.stdout).toMatch(new RegExp(`^  (?:\\w+, )?${flag}$`, "m"));
  const offered = completed.stdout.split("\n").flatMap((line) => /^--[\w-]+/.exec(line) ?? []);
  expect(offered.filter((flag) => flag !== "--help").toSorted()).toEqual(
    flags.filter((flag) => flag.startsWith("--")).toSorted(),
  );
});

it("completion offers the parts of dvcr gc", async () => {
  const { stdout } = await dvcr(["complete", "--", "gc", ""]);
  expect(stdout).toMatch(/^check\b/m);
  expect(stdout).toMatch(/^run\b/m);
});
