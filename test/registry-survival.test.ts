/** Pushes that outlive what happens to the registry, with the executable, a pipe and a real registry. */
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, open, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

import type { ImportReport } from "../src/pipeline/import-image.ts";
import { dvcr, dvcrImportWith } from "./support/cli.ts";
import { fileDigest, makeRawDisk, patternBytes, qemuConvert } from "./support/disks.ts";
import { CountingProxy } from "./support/counting-proxy.ts";
import { FaultProxy } from "./support/fault-proxy.ts";
import { pullDisk } from "./support/pulled.ts";
import { sessionsSurviveCuts, startRegistry } from "./support/registry.ts";
import { RunningDvcr, until } from "./support/running-dvcr.ts";
import { tool } from "./support/tools.ts";

const mebibyte = 1 << 20;
const large = process.env["DVCR_TEST_LARGE"] === "1";
let directory: string;
let scratch: string;
/** 64 MiB of noise as qcow2, whose size a pipe tells. */
let disk: string;
let digest: string;

async function noiseDisk(name: string, mebibytes: number): Promise<{ image: string; digest: string }> {
  const raw = join(directory, `${name}.raw`);
  const file = await open(raw, "w");
  for (let at = 0; at < mebibytes; at += 16) await file.write(patternBytes(16 * mebibyte, at + 1));
  await file.close();
  const image = await qemuConvert(raw, join(directory, `${name}.qcow2`), "-O", "qcow2");
  const found = { image, digest: await fileDigest(raw) };
  await rm(raw);
  return found;
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-survival-"));
  scratch = join(directory, "scratch");
  await mkdir(scratch);
  ({ image: disk, digest } = await noiseDisk("disk", 64));
});

afterAll(() => rm(directory, { recursive: true }));

const flags = (...more: string[]): string[] => [
  "--dest-tls-verify=false",
  "--quiet",
  "--json",
  "--scratch-dir",
  scratch,
  ...more,
];

async function expectNothingLeft(registry: { tags(repository: string): Promise<string[]> }): Promise<void> {
  expect(await registry.tags("r")).toEqual([]);
  expect(await readdir(scratch)).toEqual([]);
}

test(
  "a registry killed five times during one push from a pipe ends up with the right image",
  async () => {
    await using registry = await startRegistry();
    const size = large ? 2048 : 288;
    const noise = await noiseDisk("large", size);
    const running = new RunningDvcr("import", ...flags(), "-", `docker://${registry.host}/r:v1`);
    createReadStream(noise.image).pipe(running.input);
    for (let kill = 1; kill <= 5; kill += 1) {
      await until(running, async () => (await registry.uploadedBytes("r")) > (kill * size * mebibyte) / 7);
      await registry.restart();
    }
    expect(await running.exit(), running.stderr).toBe(0);
    const report = JSON.parse(running.stdout) as ImportReport;
    const pulled = await pullDisk(`docker://${registry.host}/r:v1`, directory);
    expect(pulled.digest).toBe(noise.digest);
    expect(report.scratchPeak).toBeLessThanOrEqual((await sessionsSurviveCuts()) ? 0 : pulled.layerSize);
    expect(await readdir(scratch)).toEqual([]);
    await rm(noise.image);
  },
  large ? 1_200_000 : 240_000,
);

test("a PATCH cut in its middle costs a pipe nothing but time", async () => {
  await using registry = await startRegistry();
  await using proxy = await FaultProxy.start(registry.host, ({ method, count }) =>
    method === "PATCH" && count === 1 ? "cut" : "pass",
  );
  const report = await dvcrImportWith({ input: disk }, "-", `docker://${proxy.host}/r:v1`, "--scratch-dir", scratch);
  const survives = await sessionsSurviveCuts();
  expect(report.restarts).toBe(survives ? 0 : 1);
  expect(report.scratchPeak).toBeLessThanOrEqual(survives ? 0 : report.storedSize);
  expect((await pullDisk(`docker://${registry.host}/r:v1`, directory)).digest).toBe(digest);
  expect(await readdir(scratch)).toEqual([]);
});

test("a file is read again and keeps nothing in scratch", async () => {
  await using registry = await startRegistry();
  await using proxy = await FaultProxy.start(registry.host, ({ method, count }) =>
    method === "PATCH" && count === 1 ? "cut" : "pass",
  );
  const finished = await dvcr(["import", ...flags(), disk, `docker://${proxy.host}/r:v1`]);
  expect(finished.code, finished.stderr).toBe(0);
  const report = JSON.parse(finished.stdout) as ImportReport;
  const survives = await sessionsSurviveCuts();
  expect(report).toMatchObject({ scratchPeak: 0, restarts: survives ? 0 : 1 });
  if (!survives) expect(finished.stderr).toContain("the source is read again from its start");
  expect((await pullDisk(`docker://${registry.host}/r:v1`, directory)).digest).toBe(digest);
});

test("beyond --scratch-limit the copy is dropped, not the import", async () => {
  await using registry = await startRegistry();
  const finished = await dvcr(["import", ...flags("--scratch-limit", "16Mi"), "-", `docker://${registry.host}/r:v1`], {
    input: disk,
  });
  expect(finished.code, finished.stderr).toBe(0);
  const report = JSON.parse(finished.stdout) as ImportReport;
  expect(report.scratchPeak).toBeLessThanOrEqual(16 * mebibyte);
  if (!(await sessionsSurviveCuts()))
    expect(finished.stderr).toContain("the layer is no longer kept in case the registry loses it");
  expect((await pullDisk(`docker://${registry.host}/r:v1`, directory)).digest).toBe(digest);
});

test("the first PATCHes and every second dropped: the image is right", async () => {
  await using registry = await startRegistry();
  await using proxy = await FaultProxy.start(registry.host, ({ method, count }) =>
    method === "PATCH" && (count < 3 || count % 2 === 1) ? "drop" : "pass",
  );
  const report = await dvcrImportWith({ input: disk }, "-", `docker://${proxy.host}/r:v1`, "--scratch-dir", scratch);
  expect(report.restarts).toBe(0);
  expect(proxy.seen.filter((one) => one === "PATCH drop").length).toBeGreaterThan(2);
  expect((await pullDisk(`docker://${registry.host}/r:v1`, directory)).digest).toBe(digest);
  expect(await registry.sessions("r")).toEqual([]);
});

test("a read-only window in the middle of a push is waited out", async () => {
  await using registry = await startRegistry();
  const running = new RunningDvcr("import", ...flags(), "-", `docker://${registry.host}/r:v1`);
  const source = createReadStream(disk);
  source.pipe(running.input);
  await until(running, async () => (await registry.uploadedBytes("r")) > 16 * mebibyte);
  await registry.restart(true);
  await until(running, () => running.stderr.includes("HTTP 405"));
  await registry.restart();
  expect(await running.exit(), running.stderr).toBe(0);
  expect((await pullDisk(`docker://${registry.host}/r:v1`, directory)).digest).toBe(digest);
});

test(
  "SIGTERM in a read-only window: the removal is tried until the grace time ends, then the " + "session is named",
  async () => {
    await using registry = await startRegistry();
    await using proxy = await FaultProxy.start(registry.host, () => "pass");
    const running = new RunningDvcr("import", ...flags(), "-", `docker://${proxy.host}/r:v1`);
    createReadStream(disk, { end: 40 * mebibyte - 1 }).pipe(running.input, { end: false });
    // Between two PATCHes: the session outlives the restart.
    await until(running, async () => (await registry.uploadedBytes("r")) > 36 * mebibyte && proxy.inFlight === 0);
    await registry.restart(true);
    createReadStream(disk, { start: 40 * mebibyte, end: 50 * mebibyte }).pipe(running.input, { end: false });
    await until(running, () => running.stderr.includes("HTTP 405"));
    running.signal("SIGTERM");
    expect(await running.exit(), running.stderr).toBe(143);
    expect(running.stderr).toMatch(/"session":"\/v2\/r\/blobs\/uploads\/[0-9a-f-]+"/);
    await expectNothingLeft(registry);
  },
);

test("a registry whose disk is full is told at once and holds nothing that could be removed", async () => {
  const storage = await mkdtemp(join(tmpdir(), "dvcr-full-"));
  await tool("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", storage).catch((error: unknown) => {
    throw new Error(`this test mounts a tmpfs, which needs root (CAP_SYS_ADMIN): ${String(error)}`);
  });
  try {
    await using registry = await startRegistry({ storage });
    await using proxy = await CountingProxy.start(registry.host);
    const finished = await dvcr(["import", ...flags(), "-", `docker://${proxy.host}/r:v1`], { input: disk });
    expect(finished.code, finished.stderr).toBe(3);
    expect(finished.stderr).toMatch(/^E_REGISTRY_FULL: .*Err:28\D/m);
    await expectNothingLeft(registry);
    const left = await registry.sessions("r");
    if (await sessionsSurviveCuts()) expect(left).toEqual([]);
    // 2.8 keeps the data of one whose PATCH failed, and knows no such session any more: nobody can remove it.
    // One whose own start found no room was never named to anybody.
    const unnamed = proxy.of("POST", /\/blobs\/uploads\//).filter(({ status }) => status >= 500).length;
    const ends = left.map((session) => proxy.passed.filter(({ url }) => url.includes(session)).at(-1)?.status);
    expect(
      ends.filter((status) => status !== undefined).every((status) => status === 404),
      String(ends),
    ).toBe(true);
    expect(ends.filter((status) => status === undefined).length, String(ends)).toBeLessThanOrEqual(unnamed);
  } finally {
    await tool("umount", "-l", storage);
    await rm(storage, { recursive: true });
  }
});

test("a small disk that must be counted first survives as well", async () => {
  await using registry = await startRegistry();
  const raw = await makeRawDisk(join(directory, "counted.raw"), 48);
  await using proxy = await FaultProxy.start(registry.host, ({ method, count }) =>
    method === "PATCH" && count === 1 ? "cut" : "pass",
  );
  const report = await dvcrImportWith(
    { input: raw },
    "-",
    `docker://${proxy.host}/r:v1`,
    "--scratch-dir",
    scratch,
    "--compression",
    "none",
  );
  expect(report).toMatchObject({ sizeFrom: "counted" });
  expect((await pullDisk(`docker://${registry.host}/r:v1`, directory)).digest).toBe(await fileDigest(raw));
});
