/** The harness itself, with an importer whose cost and faults are known. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const harness = fileURLToPath(new URL("../run.mjs", import.meta.url));
const fake = fileURLToPath(new URL("fake-importer.mjs", import.meta.url));
const MiB = 2 ** 20;

let work;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "dvcr-bench-test-"));
});
afterAll(() => rm(work, { recursive: true, force: true }));

/** Runs cases on the smallest inputs; the inputs are made once and kept for the next call. */
function bench(args, env = {}) {
  const results = join(work, "results");
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [harness, "--smoke", "--no-setup", "--work", work, "--results", results, ...args],
      { env: { ...process.env, ...env } },
      (_error, stdout, stderr) => {
        const record = async (name) => JSON.parse(await readFile(join(results, `${name}.json`), "utf8"));
        resolve({ code: child.exitCode, stdout, stderr, record });
      },
    );
  });
}

/** The fake importer, told what to do; a side sees no variables of ours, so that the command sets them. */
const importer = (orders) => ({
  BENCH_IMPORTER: ["env", ...Object.entries(orders).map(([name, value]) => `${name}=${value}`), fake].join(" "),
});

describe("the harness", { timeout: 120_000 }, () => {
  it("measures a foreign importer by the kernel: scratch, memory, network, and what it stored", async () => {
    const seen = { FAKE_SCRATCH: 8 * MiB, FAKE_MEMORY: 300 * MiB };
    const { code, stdout, stderr, record } = await bench(["importer"], importer(seen));
    expect(code, stdout + stderr).toBe(0);
    const { sides, input, commit } = await record("importer");
    const { importer: foreign, "ours-importer": ours } = sides;
    expect(foreign.holds).toBe("verbatim");
    expect(ours.holds).toBe("raw");
    expect(foreign.scratch).toBeGreaterThanOrEqual(8 * MiB);
    expect(foreign.scratch).toBeLessThan(9 * MiB);
    expect(foreign.rss).toBeGreaterThan(300 * MiB);
    expect(ours.rss).toBeLessThan(300 * MiB);
    // Downloaded once and sent once.
    expect(foreign.network).toBeGreaterThan(2 * input.size);
    expect(foreign.stored).toBeGreaterThan(input.size);
    expect(foreign.cpu).toBeGreaterThan(0);
    expect(foreign.cpu).toBeLessThan(foreign.wall * 64);
    expect(commit).toMatch(/^[0-9a-f]{12}\+?$|^unknown$/);
    expect(await readdir(work)).toEqual(expect.arrayContaining(["inputs"]));
    expect((await readdir(work)).filter((name) => name.startsWith("dvcr-workshop-"))).toEqual([]);
  });

  it("fails where an image is not the disk it should be", async () => {
    const { code, stdout, stderr, record } = await bench(["importer"], importer({ FAKE_DAMAGE: 1 }));
    expect(code).toBe(1);
    expect(stderr).toContain("WRONG IMAGE");
    expect(stdout).toContain("FAILED");
    const { sides } = await record("importer");
    expect(sides.importer.failed).toContain("WRONG IMAGE");
    expect(sides["ours-importer"].wall).toBeGreaterThan(0);
  });

  it("shows the log of a side that fails, and names a peer that is not there", async () => {
    const failing = await bench(["importer"], importer({ FAKE_EXIT: 7 }));
    expect(failing.code).toBe(1);
    expect(failing.stderr).toContain("the fake importer was told to fail");
    const absent = await bench(["importer"], { BENCH_IMPORTER: "" });
    expect(absent.code).toBe(0);
    expect(absent.stdout).toMatch(/\$BENCH_IMPORTER\s+absent\s+BENCH_IMPORTER is not set/);
  });

  it("refuses cases and sizes that it does not know", async () => {
    const { code, stderr } = await bench(["no-such-case"]);
    expect(code).toBe(2);
    expect(stderr).toContain("no such case: no-such-case");
    expect(stderr).toContain("qcow2-zlib");
  });
});
