/** Probes on a thread of their own: they are answered while the event loop stands, and say that it does. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { probeAnswer, type ProbeState } from "../src/service/operations/probe-answers.ts";
import { dvcr } from "./support/cli.ts";
import { eventually } from "./support/pod.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { temporaryDirectory } from "./support/tools.ts";

describe("what probes are answered", () => {
  const state: ProbeState = {
    notReady: undefined,
    metricsTokens: undefined,
    metrics: "dvcr_images 3\n",
    metricsAge: 1500,
    silence: 100,
  };

  it.each([
    ["/healthz", {}, 200, "ok\n"],
    ["/readyz", {}, 200, "ok\n"],
    ["/readyz", { notReady: "E_STORE_FULL: full" }, 503, "E_STORE_FULL: full\n"],
    ["/healthz", { notReady: "starting", silence: 59_000 }, 200, "ok\n"],
    ["/readyz", { silence: 6000 }, 503, "the event loop has not turned for 6 seconds\n"],
    ["/healthz", { silence: 61_000 }, 503, "the event loop has not turned for 61 seconds\n"],
    ["/upload/x", {}, 404, "E_NOT_FOUND: only /healthz, /readyz and /metrics are here\n"],
  ] as const)("%s with %j is %i", (path, change, status, body) => {
    expect(probeAnswer(path, { ...state, ...change })).toMatchObject({ status, body });
  });

  it("metrics come with their age", () => {
    const { status, body } = probeAnswer("/metrics", state);
    expect([status, body.split("\n").filter((line) => !line.startsWith("#"))]).toEqual([
      200,
      ["dvcr_images 3", "dvcr_metrics_age_seconds 1.500", "dvcr_event_loop_silence_seconds 0.100", ""],
    ]);
  });
});

/** Loaded into the service: SIGUSR2 makes its event loop stand until the file is gone. */
const standing = (file: string): string =>
  `process.on("SIGUSR2", async () => {
     const { existsSync } = await import("node:fs");
     while (existsSync(${JSON.stringify(file)}));
   });`;
const viewer = "probe-viewer-token-0123456789";
const team = "probe-team-token-0123456789abc";

describe("dvcr serve --probe-listen", () => {
  let work: Awaited<ReturnType<typeof temporaryDirectory>>;
  let server: ServeProcess;
  let probes: string;
  let stand: string;
  const ask = async (path: string, token?: string) => {
    const answer = await fetch(`${probes}${path}`, token ? { headers: { authorization: `Bearer ${token}` } } : {});
    return { status: answer.status, body: await answer.text() };
  };

  beforeAll(async () => {
    work = await temporaryDirectory();
    stand = join(work.path, "stand");
    const tokens = join(work.path, "tokens.yaml");
    const users = [
      { name: "watcher", token: viewer, roles: [{ role: "view" }] },
      { name: "team", token: team, roles: [{ role: "edit", namespaces: ["team"] }] },
    ];
    await writeFile(tokens, JSON.stringify({ users }));
    const preload = join(work.path, "stand.mjs");
    await writeFile(preload, standing(stand));
    const before = process.env["NODE_OPTIONS"];
    process.env["NODE_OPTIONS"] = `${before ?? ""} --import ${preload}`;
    server = await ServeProcess.start("--probe-listen", "127.0.0.1:0", "--token-file", tokens);
    process.env["NODE_OPTIONS"] = before ?? "";
    probes = `http://127.0.0.1:${/"probePort":(\d+)/.exec(server.log)![1]!}`;
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await work[Symbol.asyncDispose]();
  });

  it("answers like the service, and metrics to whom may see them", async () => {
    expect(await ask("/healthz")).toEqual({ status: 200, body: "ok\n" });
    await eventually(async () => (await ask("/readyz")).status === 200);
    expect((await ask("/metrics")).status).toBe(401);
    expect((await ask("/metrics", team)).status).toBe(401);
    const { status, body } = await ask("/metrics", viewer);
    expect(status).toBe(200);
    expect(body).toContain('dvcr_images{kind="VirtualImage",phase="Ready"} 0');
    expect(body).toMatch(/^dvcr_event_loop_silence_seconds 0\.\d+$/m);
  });

  it("goes on answering while the event loop stands, and says for how long", async () => {
    await ask("/metrics", viewer);
    await writeFile(stand, "");
    server.signal("SIGUSR2");
    const abandoned = new AbortController();
    await eventually(async () => (await ask("/readyz")).status === 503);
    const main = fetch(`${server.url}/healthz`, { signal: abandoned.signal }).then(
      ({ status }) => status,
      () => "nothing",
    );
    expect((await ask("/readyz")).body).toMatch(/^the event loop has not turned for \d+ seconds\n$/);
    expect((await ask("/healthz")).status).toBe(200);
    const { body } = await ask("/metrics", viewer);
    expect(Number(/^dvcr_metrics_age_seconds (.*)$/m.exec(body)![1])).toBeGreaterThan(4);
    expect(body).toContain("dvcr_build_info");
    abandoned.abort();
    expect(await main).toBe("nothing");
    await rm(stand);
    await eventually(async () => (await ask("/readyz")).status === 200);
    expect(Number(/^dvcr_metrics_age_seconds (.*)$/m.exec((await ask("/metrics", viewer)).body)![1])).toBeLessThan(4);
  });

  it("says which port it could not have", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const { port } = taken.address() as AddressInfo;
    const probeListen = `127.0.0.1:${String(port)}`;
    const data = join(work.path, "data");
    const args = ["serve", "--listen", "127.0.0.1:0", "--probe-listen", probeListen, "--data-dir", data];
    const { code, stderr } = await dvcr(args);
    expect([code, stderr]).toEqual([
      expect.any(Number),
      expect.stringMatching(/E_CONFIG: probeListen: got \d+, expected a free port/),
    ]);
    taken.close();
  });
});
