/** The API's decoders under a short run of their fuzzer; `npm run fuzz -- api SECONDS` goes on for longer. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

it("answer thousands of broken inputs with JSON or with a refusal", async () => {
  const script = fileURLToPath(new URL("../scripts/fuzz-api.mjs", import.meta.url));
  const { code, stdout } = await new Promise<{ code: unknown; stdout: string }>((resolve) => {
    execFile(process.execPath, [script, "--rounds", "1000", "--seconds", "120"], (error, out, err) => {
      resolve({ code: error === null ? 0 : err, stdout: out });
    });
  });
  expect(code).toBe(0);
  const counts = [...stdout.matchAll(/: (\d+) inputs/g)].map(([, count]) => Number(count));
  expect(counts).toEqual([1000, 1000, 1000, 1000, 1000, 1000]);
}, 180_000);
