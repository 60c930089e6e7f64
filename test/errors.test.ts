import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

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
    const files = (await Promise.all(["src", "native/core"].map((folder) => readdir(join(root, folder), { recursive: true })))).flatMap((names, index) =>
      names.filter((name) => /\.(?:ts|h|cpp)$/.test(name) && name !== "errors/catalogue.ts").map((name) => join(root, ["src", "native/core"][index]!, name)),
    );
    const text = (await Promise.all(files.map((file) => readFile(file, "utf8")))).join("\n");
    expect(Object.keys(catalogue).filter((code) => !text.includes(`"${code}"`))).toEqual([]);
  });

  it("says on one line what happened and what to do", () => {
    expect(new DvcrError("E_TRUNCATED", "the file\nends early.").toLine()).toBe(
      `E_TRUNCATED: the file ends early. ${catalogue.E_TRUNCATED.fix}`,
    );
  });

  it.each([["E_SOURCE_IO", 1], ["E_USAGE", 2], ["E_ALIAS", 3]] as const)("%s ends dvcr with %i", (code, expected) => {
    expect(exitCode(new DvcrError(code, "x"))).toBe(expected);
  });

  it("keeps a known code of another error and calls an unknown one internal", () => {
    expect(toDvcrError(Object.assign(new Error("x"), { code: "E_EMPTY" })).code).toBe("E_EMPTY");
    expect(toDvcrError(Object.assign(new Error("x"), { code: "ENOENT" })).code).toBe("E_INTERNAL");
    expect(toDvcrError("text").code).toBe("E_INTERNAL");
  });
});
