import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const here = new URL(".", import.meta.url);
const rows = readFileSync(new URL("../docs/contract.md", here), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| item"))
  .map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

describe("the page of the contract", () => {
  it("says of every item whether it is kept, improved or overruled, and why where it is not kept", () => {
    expect(rows.length).toBeGreaterThan(50);
    for (const [item, verdict, reason] of rows) {
      expect([item, ["kept", "improved", "overruled"].includes(verdict ?? "")]).toEqual([item, true]);
      if (verdict === "overruled") expect([item, reason]).not.toEqual([item, ""]);
    }
  });

  it("names a test that exists for every item", () => {
    for (const [item, , , test = ""] of rows) {
      const [file = "", words = ""] = test.split(/: ?(.*)/);
      expect(words, item).not.toBe("");
      expect([item, existsSync(new URL(`${file}.test.ts`, here))]).toEqual([item, true]);
      // A long name stands on several lines, joined by +.
      const text = readFileSync(new URL(`${file}.test.ts`, here), "utf8").replaceAll(/"\s*\+\s*"/g, "");
      const names = [...text.matchAll(/^\s*(?:it|test|describe)(?:\.each[^]*?\))?\(\s*(["`].*)$/gm)].map(
        ([, name]) => name,
      );
      expect(names.join("\n"), item).toContain(words);
    }
  });
});
