/** Three tenants attack with all that they may do, a fourth works: its work gets done. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

it("a siege by three tenants leaves a fourth one working, and the service below a gibibyte", async () => {
  const script = fileURLToPath(new URL("../scripts/test-siege.mjs", import.meta.url));
  const { code, stdout, stderr } = await new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, [script, "--seconds", "20"], (error, out, err) => {
      resolve({ code: error === null ? 0 : error.code, stdout: out, stderr: err });
    });
  });
  // It ends with 1 for whatever did not become Ready, and for a gibibyte.
  expect([code, stderr]).toEqual([0, ""]);
  const [, imports, uploads, lists] = /: (\d+) imports and (\d+) uploads Ready, \d+ events, (\d+) lists/.exec(stdout)!;
  for (const count of [imports, uploads, lists]) expect(Number(count)).toBeGreaterThan(0);
  expect(Number(/(\d+) MiB at its peak/.exec(stdout)![1])).toBeLessThan(1024);
}, 300_000);
