import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

import type { FieldTable } from "../src/config/field.ts";
import { importerFields } from "../src/config/importer-config.ts";
import { serveFields } from "../src/config/serve-config.ts";
import { uploaderFields } from "../src/config/uploader-config.ts";
import { catalogue, isErrorCode } from "../src/errors/catalogue.ts";
import { DvcrError, exitCode, toDvcrError } from "../src/errors/dvcr-error.ts";
import { errorsPage } from "../src/errors/reference-page.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

describe("the error catalogue", () => {
  it("is what docs/errors.md says (node scripts/gen-docs.mjs writes it)", async () => {
    expect(await readFile(join(root, "docs/errors.md"), "utf8")).toBe(errorsPage());
  });

  it("knows every code that the native core throws", async () => {
    const header = await readFile(join(root, "native/core/error.h"), "utf8");
    const codes = [...header.matchAll(/"(E_[A-Z_]+)"/g)].map((match) => match[1]!);
    expect(codes.length).toBeGreaterThan(20);
    expect(codes.filter((code) => !isErrorCode(code))).toEqual([]);
  });

  it("holds no code that nothing uses", async () => {
    const files = (
      await Promise.all(["src", "native/core"].map((folder) => readdir(join(root, folder), { recursive: true })))
    ).flatMap((names, index) =>
      names
        .filter((name) => /\.(?:ts|h|cpp)$/.test(name) && !name.startsWith("errors/catalogue"))
        .map((name) => join(root, ["src", "native/core"][index]!, name)),
    );
    const text = (await Promise.all(files.map((file) => readFile(file, "utf8")))).join("\n");
    expect(Object.keys(catalogue).filter((code) => !text.includes(`"${code}"`))).toEqual([]);
  });

  it("names the pods' variable wherever it names a flag that pods do not have", () => {
    const fixes = Object.entries(catalogue).map(([code, { fix }]) => ({
      code,
      fix: fix.replaceAll(/`[^`]*`|without --long/g, ""),
    }));
    const named = fixes.filter(
      ({ code, fix }) => fix.includes(" --") && !["E_TOO_LARGE", "E_USAGE", "E_DISK_EXISTS"].includes(code),
    );
    expect(named.length).toBeGreaterThan(8);
    for (const { code, fix } of named)
      expect([code, fix]).toEqual([code, expect.stringMatching(/\([^)]*\b[A-Z]+(?:_[A-Z]+)+/)]);
  });

  it("names variables that there are", () => {
    const tables: readonly FieldTable[] = [importerFields, uploaderFields, serveFields];
    const known = tables.flatMap((table) => Object.values(table).map(({ env }) => env));
    const named = Object.values(catalogue).flatMap(
      ({ fix }) => fix.match(/\b(?:DVCR|IMPORTER|UPLOADER|DESTINATION|INSECURE)_[A-Z_]+\b/g) ?? [],
    );
    expect(named.length).toBeGreaterThan(10);
    expect([...known, "DVCR_SERVER"]).toEqual(expect.arrayContaining(named));
  });

  it("says on one line what happened and what to do", () => {
    expect(new DvcrError("E_TRUNCATED", "the file\nends early.").toLine()).toBe(
      `E_TRUNCATED: the file ends early. ${catalogue.E_TRUNCATED.fix}`,
    );
  });

  it.each([
    ["E_SOURCE_IO", 1],
    ["E_USAGE", 2],
    ["E_ALIAS", 3],
  ] as const)("%s ends dvcr with %i", (code, expected) => {
    expect(exitCode(new DvcrError(code, "x"))).toBe(expected);
  });

  it("keeps a known code of another error and calls an unknown one internal", () => {
    expect(toDvcrError(Object.assign(new Error("x"), { code: "E_EMPTY" })).code).toBe("E_EMPTY");
    expect(toDvcrError(Object.assign(new Error("x"), { code: "ENOENT" })).code).toBe("E_INTERNAL");
    expect(toDvcrError("text").code).toBe("E_INTERNAL");
    expect(new DvcrError("E_SOURCE_IO", " ").message).toBe(catalogue.E_SOURCE_IO.title);
    expect(toDvcrError("").message).toBe(catalogue.E_INTERNAL.title);
    expect(toDvcrError(new AggregateError([])).message).toBe("an unexpected AggregateError");
  });
});
