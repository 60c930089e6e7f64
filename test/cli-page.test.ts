import { readFileSync } from "node:fs";
import { Command } from "commander";
import { describe, expect, it } from "vitest";

import { addImageCommands } from "../src/cli/image-commands.ts";
import { cliPage } from "../src/cli/reference-page.ts";
import { operandsOf, UsageProblems } from "../src/cli/usage.ts";

const page = readFileSync(new URL("../docs/cli.md", import.meta.url), "utf8");

/** The words of a command line of the page; what a shell would put in place of `$…` does not matter. */
function words(line: string): string[] {
  const bare = line.replaceAll(/\$\((?:[^()]|\([^()]*\))*\)|\$\w+/g, "0".repeat(128));
  return [...bare.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
}

describe("the reference of the command line", () => {
  it("is what the commands give (node scripts/gen-docs.mjs writes it)", () => {
    expect(page).toBe(cliPage());
  });

  it("has a row for every option that is taken", () => {
    for (const command of Object.values(
      addImageCommands(new Command("dvcr"), "/tmp", new UsageProblems()),
    ) as Command[]) {
      const section = page.split(`\n## \`dvcr ${command.name()} `)[1]?.split("\n## ")[0] ?? "";
      expect(command.options.length).toBeGreaterThan(5);
      for (const { flags } of command.options) expect(section).toContain(`| \`${flags}\` |`);
    }
  });

  it("has examples that are taken as they stand", () => {
    const lines = page
      .replaceAll("\\\n", " ")
      .split("\n")
      .filter((line) => line.startsWith("dvcr "));
    expect(lines.length).toBeGreaterThan(4);
    for (const line of lines) {
      const problems = new UsageProblems();
      const program = new Command("dvcr");
      const commands = Object.values(addImageCommands(program, "/tmp", problems)) as Command[];
      for (const command of commands) command.action(() => void operandsOf(command, problems));
      program.parse(words(line).slice(1), { from: "user" });
      expect(() => problems.throwIfAny(), line).not.toThrow();
    }
  });
});
