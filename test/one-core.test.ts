import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent, request } from "undici";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { oneCoreQuota } from "./support/cpu-quota.ts";
import { patternBytes, textDisk } from "./support/disks.ts";
import { startExecutable, type PodExecutable } from "./support/executable.ts";
import { curl, eventually, ownerUid } from "./support/pod.ts";
import { startRegistry, type TestRegistry } from "./support/registry.ts";

const MIB = 1 << 20;
const megabytes = 768;
/** Milliseconds within which a probe or a scrape wants its answer. */
const promptness = 250;

let directory: string;
let disk: string;
let registry: TestRegistry;
let uploader: PodExecutable;
let ports: { readonly upload: number; readonly healthz: number; readonly metrics: number };

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-one-core-"));
  disk = join(directory, "disk.raw");
  const file = await open(disk, "w");
  const piece = Buffer.concat([textDisk(24 * MIB, 7), patternBytes(8 * MIB, 11)]);
  for (let written = 0; written < megabytes * MIB; written += piece.length) await file.write(piece);
  await file.close();
  registry = await startRegistry();
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

afterEach(() => uploader.signal("SIGKILL"));

async function startUploader(repository: string, wrapper: readonly string[]): Promise<string> {
  uploader = startExecutable(
    "dvcr-uploader",
    directory,
    {
      LISTEN_ADDRESS: "127.0.0.1",
      LISTEN_PORT: "0",
      HEALTHZ_PORT: "0",
      UPLOADER_DESTINATION_ENDPOINT: `${registry.host}/${repository}:1`,
      DESTINATION_INSECURE_TLS: "true",
    },
    wrapper,
  );
  const { uploadPort, healthzPort } = await uploader.logged("waiting for an upload");
  const { metricsPort } = await uploader.logged("started");
  ports = { upload: Number(uploadPort), healthz: Number(healthzPort), metrics: Number(metricsPort) };
  return `http://127.0.0.1:${String(uploadPort)}/upload`;
}

/** A connection of its own for each request, as probes and scrapes have. */
async function answer(url: string): Promise<{ status: number; body: string; milliseconds: number }> {
  const agent = new Agent({ connect: { rejectUnauthorized: false } });
  const started = performance.now();
  const response = await request(url, { dispatcher: agent });
  const body = await response.body.text();
  const milliseconds = performance.now() - started;
  await agent.close();
  return { status: response.statusCode, body, milliseconds };
}

const scraped = async (): Promise<number> => {
  const { body } = await answer(`https://127.0.0.1:${String(ports.metrics)}/metrics`);
  return Number(new RegExp(`registry_progress\\{ownerUID\\="${ownerUid}"\\} ([0-9e\\+\\-\\.]+)`).exec(body)?.[1]);
};

const endsSoon = (end: Promise<unknown>): Promise<boolean> =>
  Promise.race([end.then(() => true), new Promise<boolean>((resolve) => setTimeout(resolve, 10_000, false))]);

/** Asks all three ports in turn while `upload` runs, at least `least` times; times in milliseconds by endpoint. */
async function probeWhile(upload: Promise<unknown>, least = 0): Promise<Record<string, number[]>> {
  const times: Record<string, number[]> = { "/upload": [], "/healthz": [], "/metrics": [] };
  const urls = {
    "/upload": `http://127.0.0.1:${String(ports.upload)}/upload`,
    "/healthz": `http://127.0.0.1:${String(ports.healthz)}/healthz`,
    "/metrics": `https://127.0.0.1:${String(ports.metrics)}/metrics`,
  };
  const running = { yes: true };
  const end = upload.finally(() => {
    running.yes = false;
  });
  while (running.yes || times["/upload"]!.length < least) {
    for (const [path, url] of Object.entries(urls)) {
      const one = await answer(url).catch(async (error: unknown) => {
        // After its upload the process ends, also between two probes.
        if (!(await endsSoon(end))) throw error;
        return undefined;
      });
      // Where the upload has just ended, the server turns away what comes while it closes.
      if (one === undefined || (one.status === 503 && (await endsSoon(end)))) return times;
      expect(one.status).toBe(200);
      times[path]!.push(one.milliseconds);
    }
  }
  return times;
}

/** The 95th percentile: a busy machine that runs the test may delay the asking side once. */
const p95 = (times: readonly number[]): number => [...times].sort((a, b) => a - b)[Math.ceil(times.length * 0.95) - 1]!;

async function expectPromptAnswers(repository: string, wrapper: readonly string[]): Promise<void> {
  const url = await startUploader(repository, wrapper);
  // What a busy machine adds of its own is no fault of the import's.
  const idle = Math.max(...Object.values(await probeWhile(Promise.resolve(), 20)).map(p95));
  const upload = curl("-T", disk, url);
  await eventually(async () => (await scraped()) > 0);
  const times = await probeWhile(upload.done);
  expect((await upload.done).stdout).toMatch(/^stored /);
  for (const [path, found] of Object.entries(times)) {
    expect(found.length, `probes of ${path}`).toBeGreaterThanOrEqual(12);
    expect(p95(found), `95th percentile of ${path} in ${String(found.length)} probes`).toBeLessThan(promptness + idle);
  }
}

const quota = await oneCoreQuota();

describe("while an import runs flat out", { timeout: 180_000 }, () => {
  it("on one core, /upload, /healthz and /metrics answer at once", async () => {
    await expectPromptAnswers("core/pinned", ["taskset", "-c", "0"]);
  });

  const why = typeof quota === "string" ? ` (SKIPPED, no cgroup with a CPU quota can be made here: ${quota})` : "";
  it.skipIf(typeof quota === "string")(`under a cgroup quota of one core they answer at once too${why}`, async () => {
    if (typeof quota === "string") return;
    try {
      await expectPromptAnswers("core/quota", quota.wrapper);
    } finally {
      uploader.signal("SIGKILL");
      await uploader.exit;
      await quota.remove();
    }
  });
});

describe("progress", () => {
  it("stands still while the client sends nothing and goes on when it does", async () => {
    const content = (await readFile(disk)).subarray(0, 64 * MIB);
    const url = await startUploader("core/paused", ["taskset", "-c", "0"]);
    const upload = curl("-T", "-", "-H", `Content-Length: ${String(content.length)}`, "-H", "Transfer-Encoding:", url);
    await upload.write(content.subarray(0, content.length / 2));
    const half = await eventually(async () => {
      const progress = await scraped();
      return progress >= 49 ? progress : undefined;
    });
    expect(half).toBeLessThanOrEqual(51);
    // The gauges are set once a second: three of those.
    const seen = new Set<number>();
    for (const end = performance.now() + 3500; performance.now() < end;) seen.add(await scraped());
    expect([...seen].every((value) => value >= half && value <= 50.1)).toBe(true);
    expect(seen.size).toBeLessThanOrEqual(2);
    await upload.write(content.subarray(content.length / 2, content.length - MIB));
    await eventually(async () => (await scraped()) > 90);
    await upload.write(content.subarray(content.length - MIB));
    upload.end();
    expect((await upload.done).stdout).toMatch(/^stored /);
  });
});
