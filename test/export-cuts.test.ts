/** `dvcr export` from a registry whose connection breaks: it goes on where it was, and reads next to nothing twice. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, request, type Server } from "node:http";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";

import { patternBytes } from "./support/disks.ts";
import { startRegistry, type TestRegistry } from "./support/registry.ts";
import { tool } from "./support/tools.ts";

const dvcr = new URL("../bin/dvcr", import.meta.url).pathname;
let directory: string;
let raw: string;
let registry: TestRegistry;
let layer: { digest: string; size: number };

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-cuts-"));
  raw = join(directory, "disk.raw");
  await writeFile(raw, patternBytes(24 << 20, 3));
  registry = await startRegistry();
  const to = `docker://${registry.host}/disk:1`;
  const report = await tool(process.execPath, dvcr, "import", "--quiet", "--json", "--dest-tls-verify=false", raw, to);
  const { layerDigest, storedSize } = JSON.parse(report) as { layerDigest: string; storedSize: number };
  layer = { digest: layerDigest, size: storedSize };
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

interface Cutting {
  readonly server: Server;
  readonly host: string;
  /** Bytes of the layer that were passed on. */
  sent: number;
  /** Places in the layer where the connection ended. */
  readonly cuts: number[];
}

/** A proxy that ends the connection where the layer reaches each of `places`, once. */
async function startCutting(places: readonly number[]): Promise<Cutting> {
  const left = [...places];
  const server = createServer((incoming, answer) => {
    const { method, url: path, headers } = incoming;
    const upstream = request({ host: "127.0.0.1", port: registry.port, method, path, headers, agent: false });
    upstream.on("response", (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers);
      if (method !== "GET" || !path!.endsWith(layer.digest)) return void response.pipe(answer);
      let at = Number(/^bytes (\d+)-/.exec(response.headers["content-range"] ?? "")?.[1] ?? 0);
      response.on("data", (chunk: Buffer) => {
        const [end] = left;
        const part = end === undefined ? chunk : chunk.subarray(0, Math.max(0, end - at));
        at += part.length;
        cutting.sent += part.length;
        if (part.length > 0 && !answer.write(part)) {
          response.pause();
          answer.once("drain", () => response.resume());
        }
        if (part.length === chunk.length) return;
        left.shift();
        cutting.cuts.push(at);
        response.destroy();
        // What was written has gone out by then.
        answer.socket?.end(() => answer.socket?.destroy());
      });
      response.on("end", () => answer.end());
    });
    incoming.pipe(upstream);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const host = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const cutting: Cutting = { server, host, sent: 0, cuts: [] };
  return cutting;
}

async function exported(host: string, path: string): Promise<{ code: number | null; stderr: string }> {
  const args = ["export", "--quiet", "--src-tls-verify=false", `docker://${host}/disk:1`, path];
  const child = spawn(process.execPath, [dvcr, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stderr };
}

it("reads at most a tenth of the layer twice when the connection is cut at 30, 60 and 90 percent", async () => {
  const places = [0.3, 0.6, 0.9].map((share) => Math.floor(layer.size * share));
  const cutting = await startCutting(places);
  try {
    const path = join(directory, "out.img");
    const ended = await exported(cutting.host, path);
    expect(ended, ended.stderr).toMatchObject({ code: 0 });
    await tool("cmp", path, raw);
    expect(cutting.cuts).toEqual(places);
    expect(cutting.sent).toBeLessThanOrEqual(layer.size * 1.1);
  } finally {
    cutting.server.close();
    cutting.server.closeAllConnections();
  }
});

it("killed at any moment leaves no disk under its name, and makes the right one when it is started again", async () => {
  for (const share of [0.1, 0.5, 0.95]) {
    const path = join(directory, `killed-${String(share)}.img`);
    const cutting = await startCutting([]);
    const args = ["export", "--quiet", "--src-tls-verify=false", `docker://${cutting.host}/disk:1`, path];
    const child = spawn(process.execPath, [dvcr, ...args], { stdio: "ignore" });
    const gone = once(child, "close");
    while (cutting.sent < layer.size * share && child.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 1));
    child.kill("SIGKILL");
    await gone;
    const names = await readdir(directory);
    if (child.signalCode === "SIGKILL") expect(names).not.toContain(`killed-${String(share)}.img`);
    cutting.server.closeAllConnections();
    cutting.server.close();
    await rm(path, { force: true });
    const again = await exported(registry.host, path);
    expect(again, again.stderr).toMatchObject({ code: 0 });
    await tool("cmp", path, raw);
    expect((await readdir(directory)).filter((name) => name.endsWith(".partial"))).toEqual([]);
  }
});
