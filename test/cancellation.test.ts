/** Ctrl-C and SIGTERM in every phase of `dvcr import`: no session, no tag, no scratch, and the exit code says which. */
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

import { makeRawDisk, patternBytes, qemuConvert } from "./support/disks.ts";
import { FaultProxy, type Order, type ProxiedRequest } from "./support/fault-proxy.ts";
import { Origin } from "./support/origin.ts";
import { startRegistry, type TestRegistry } from "./support/registry.ts";
import { RunningDvcr, until } from "./support/running-dvcr.ts";

const mebibyte = 1 << 20;
let directory: string;
let scratch: string;
let disk: string;
let registry: TestRegistry;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-cancel-"));
  scratch = join(directory, "scratch");
  await mkdir(scratch);
  disk = await qemuConvert(
    await makeRawDisk(join(directory, "disk.raw"), 24),
    join(directory, "disk.qcow2"),
    "-O",
    "qcow2",
  );
  registry = await startRegistry();
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true });
});

const start = (source: string, host: string, repository: string): RunningDvcr =>
  new RunningDvcr(
    "import",
    "--dest-tls-verify=false",
    "--quiet",
    "--scratch-dir",
    scratch,
    source,
    `docker://${host}/${repository}:v1`,
  );

async function expectCancelled(running: RunningDvcr, signal: "SIGINT" | "SIGTERM", repository: string): Promise<void> {
  running.signal(signal);
  expect(await running.exit(), running.stderr).toBe(signal === "SIGINT" ? 130 : 143);
  expect(running.stderr).toContain(`E_CANCELLED: ended by ${signal}`);
  expect(await registry.tags(repository)).toEqual([]);
  expect(await registry.sessions(repository)).toEqual([]);
  expect(await readdir(scratch)).toEqual([]);
}

test("while the source's server has not answered", async () => {
  await using origin = await Origin.start(patternBytes(mebibyte, 1), () => ({ stallAfter: 0 }));
  const running = start(`${origin.url}/disk`, registry.host, "opening");
  await until(running, () => origin.seen.length > 0);
  await expectCancelled(running, "SIGINT", "opening");
});

test("while a pipe is silent in the middle of the layer", async () => {
  const running = start("-", registry.host, "streaming");
  createReadStream(disk, { end: 5 * mebibyte }).pipe(running.input, { end: false });
  await until(running, async () => (await registry.sessions("streaming")).length > 0);
  await expectCancelled(running, "SIGTERM", "streaming");
});

/** The request at which the registry is held up, and the signal is sent. */
const phases: readonly [string, "SIGINT" | "SIGTERM", (request: ProxiedRequest) => boolean][] = [
  ["before the upload is opened", "SIGINT", ({ method }) => method === "POST"],
  ["inside a PATCH", "SIGTERM", ({ method, count }) => method === "PATCH" && count === 1],
  ["while the layer is committed", "SIGINT", ({ method, count }) => method === "PUT" && count === 1],
  ["while the config is pushed", "SIGTERM", ({ method, count }) => method === "PUT" && count === 2],
  ["while the manifest is put", "SIGINT", ({ method, path }) => method === "PUT" && path.includes("/manifests/")],
];

test.each(phases)("%s", async (name, signal, isHeld) => {
  const repository = name.toLowerCase().replaceAll(" ", "-");
  let held = false;
  const orders = (request: ProxiedRequest): Order => {
    if (held || !isHeld(request)) return "pass";
    held = true;
    return "hold";
  };
  await using proxy = await FaultProxy.start(registry.host, orders);
  const running = start(disk, proxy.host, repository);
  await until(running, () => held);
  await expectCancelled(running, signal, repository);
});

test("while the registry is away the session is named, since nobody can remove it now", async () => {
  await using gone = await startRegistry();
  await using proxy = await FaultProxy.start(gone.host, () => "pass");
  const running = start("-", proxy.host, "away");
  // The first 6 MiB are text, and of that the layer has less than one buffer: nothing would be sent.
  createReadStream(disk, { end: 8 * mebibyte }).pipe(running.input, { end: false });
  await until(running, async () => (await gone.uploadedBytes("away")) > 0);
  await gone.kill();
  createReadStream(disk, { start: 8 * mebibyte + 1 }).pipe(running.input, { end: false });
  await until(running, () => running.stderr.includes("failed, trying again"));
  running.signal("SIGTERM");
  expect(await running.exit(), running.stderr).toBe(143);
  expect(running.stderr).toMatch(/"session":"\/v2\/away\/blobs\/uploads\//);
  expect(await readdir(scratch)).toEqual([]);
});
