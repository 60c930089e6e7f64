import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const here = new URL(".", import.meta.url);
const page = readFileSync(new URL("../docs/security.md", here), "utf8");
const promises = page.split("## What is promised")[1]!.split("## What is not")[0]!;
const rows = promises
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| promise") && !line.startsWith("| ---"))
  .map((line) => line.split("|").map((cell) => cell.trim()));

describe("the threat model", () => {
  it("names a test that exists for every promise", () => {
    expect(rows.length).toBeGreaterThan(35);
    const files = readdirSync(here);
    for (const [, promise = "", test = ""] of rows) {
      const [file = "", words = ""] = test.split(/: ?(.*)/);
      expect(words, promise).not.toBe("");
      expect(files, promise).toContain(`${file}.test.ts`);
      // A long name stands on several lines, joined by +. As it stands behind the call, not in a comment.
      const text = readFileSync(new URL(`${file}.test.ts`, here), "utf8").replaceAll(/"\s*\+\s*"/g, "");
      const names = [...text.matchAll(/(?:\b(?:it|test)|\]\)|\w\))\(\s*(["`])(.*)\1,/g)].map(([, , name]) => name);
      expect(names.join("\n"), promise).toContain(words);
    }
  });
});
