import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { start, type Finished } from "./support/pod.ts";

const executables = ["dvcr", "dvcr-cleaner", "dvcr-importer", "dvcr-pvc-importer", "dvcr-uploader"];
const hint = "dvcr is not built yet: run `npm run setup`\n";

let checkout: string;

beforeEach(() => {
  checkout = mkdtempSync(join(tmpdir(), "dvcr-checkout-"));
  const root = fileURLToPath(new URL("..", import.meta.url));
  for (const name of ["bin", "package.json", "scripts/setup.mjs"])
    cpSync(join(root, name), join(checkout, name), { recursive: true });
});

afterEach(() => rmSync(checkout, { recursive: true }));

function put(path: string, content = ""): void {
  mkdirSync(dirname(join(checkout, path)), { recursive: true });
  writeFileSync(join(checkout, path), content);
}

const runIn = (name: string): Promise<Finished> =>
  start(process.execPath, [join(checkout, "bin", name), "--help"]).done;

describe.each(executables)("bin/%s", (name) => {
  it("says in one line what to run where nothing is built", async () => {
    expect(await runIn(name)).toEqual({ code: 2, stdout: "", stderr: hint });
  });
});

describe("bin/dvcr", () => {
  it("says the same where the native core is missing", async () => {
    put("node_modules/.package-lock.json");
    put("dist/cli/main.js", "throw new Error('no core');");
    expect(await runIn("dvcr")).toEqual({ code: 2, stdout: "", stderr: hint });
  });

  it("shows what is wrong where the build is there", async () => {
    put("node_modules/.package-lock.json");
    put("build/native/dvcr.node");
    put("dist/cli/main.js", "import 'a-package-that-is-not-there';");
    const { code, stderr } = await runIn("dvcr");
    expect([code, stderr]).toEqual([1, expect.stringContaining("a-package-that-is-not-there")]);
  });

  it("shows what is wrong in an installation, which nobody can build", async () => {
    rmSync(join(checkout, "scripts"), { recursive: true });
    const { code, stderr } = await runIn("dvcr");
    expect([code, stderr]).toEqual([1, expect.stringContaining("dist/cli/main.js")]);
  });
});
