import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { CopyReport } from "../src/copy/copy-image.ts";
import { dvcr } from "./support/cli.ts";
import { ImagePusher, type TestImage } from "./support/container-images.ts";
import { CountingProxy } from "./support/counting-proxy.ts";
import { patternBytes } from "./support/disks.ts";
import { startExecutable, writeAuthConfig } from "./support/executable.ts";
import { startRegistry, testUser, type TestRegistry } from "./support/registry.ts";
import { tool } from "./support/tools.ts";

let directory: string;
let registry: TestRegistry;
let proxy: CountingProxy;

/** Large enough for several PATCHes. */
const disk = patternBytes(40 * 2 ** 20 + 17, 9);
const image: TestImage = {
  layers: [{ content: disk }, { content: patternBytes(70_000, 4) }],
  platform: { os: "linux", architecture: "amd64" },
};
const blobBytes = disk.length + 70_000;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-copy-"));
  registry = await startRegistry();
  proxy = await CountingProxy.start(registry.host);
  await using pusher = new ImagePusher(registry.host, "vi/ns/source");
  await pusher.image(image, "uid");
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

async function copy(from: string, to: string, ...flags: string[]): Promise<CopyReport> {
  const finished = await dvcr([
    "copy",
    "--json",
    "--quiet",
    "--src-tls-verify=false",
    "--dest-tls-verify=false",
    ...flags,
    `docker://${from}`,
    `docker://${to}`,
  ]);
  if (finished.code !== 0) throw new Error(`dvcr copy ended with ${String(finished.code)}: ${finished.stderr}`);
  return JSON.parse(finished.stdout) as CopyReport;
}

function rawManifest(reference: string, ...flags: string[]): Promise<string> {
  return tool("skopeo", "inspect", "--raw", "--tls-verify=false", ...flags, `docker://${reference}`);
}

/** Bytes of blobs that went through the proxy since `before`, either way. */
function blobTraffic(before: number): number {
  return proxy.passed
    .slice(before)
    .filter((one) => one.url.includes("/blobs/"))
    .reduce((sum, one) => sum + one.sent + (one.method === "GET" ? one.received : 0), 0);
}

describe("a copy within one registry", () => {
  it("sends no blob, mounts all, and keeps the manifest byte for byte", async () => {
    const before = proxy.passed.length;
    const report = await copy(`${proxy.host}/vi/ns/source:uid`, `${proxy.host}/cvi/mounted:uid2`);
    expect(report).toMatchObject({ mountedBlobs: 3, copiedBlobs: 0, copiedSize: 0 });
    expect(blobTraffic(before)).toBe(0);
    expect(proxy.of("POST", /cvi\/mounted\/blobs\/uploads\/\?mount=/).map((one) => one.status)).toEqual([
      201, 201, 201,
    ]);
    expect(await rawManifest(`${registry.host}/cvi/mounted:uid2`)).toBe(
      await rawManifest(`${registry.host}/vi/ns/source:uid`),
    );
  });

  it("a second time asks for the tag and puts nothing", async () => {
    const before = proxy.passed.length;
    await copy(`${proxy.host}/vi/ns/source:uid`, `${proxy.host}/cvi/mounted:uid2`);
    expect(
      proxy.passed
        .slice(before)
        .map((one) => one.method)
        .filter((method) => method !== "GET" && method !== "HEAD"),
    ).toEqual([]);
  });

  it("of one repository only puts the manifest under the new tag", async () => {
    const before = proxy.passed.length;
    expect(await copy(`${proxy.host}/vi/ns/source:uid`, `${proxy.host}/vi/ns/source:again`)).toMatchObject({
      presentBlobs: 3,
      copiedSize: 0,
    });
    expect(blobTraffic(before)).toBe(0);
  });
});

describe("a copy between registries", () => {
  it("streams the blobs, verified, and leaves out those that are there", async () => {
    await using other = await startRegistry({ auth: true, tls: true });
    const credentials = `${testUser.name}:${testUser.password}`;
    const flags = ["--dest-tls-verify=true", "--dest-cert-dir", other.certDirectory, "--dest-creds", credentials];
    const report = await copy(`${registry.host}/vi/ns/source:uid`, `${other.host}/far/copy:1`, ...flags);
    expect(report).toMatchObject({ copiedBlobs: 3, mountedBlobs: 0 });
    expect(report.copiedSize).toBeGreaterThanOrEqual(blobBytes);
    expect(await rawManifest(`${other.host}/far/copy:1`, "--creds", credentials)).toBe(
      await rawManifest(`${registry.host}/vi/ns/source:uid`),
    );
    await tool(
      "skopeo",
      "copy",
      "--src-tls-verify=false",
      "--src-creds",
      credentials,
      `docker://${other.host}/far/copy:1`,
      `dir:${join(directory, "pulled")}`,
    );
    expect(await copy(`${registry.host}/vi/ns/source:uid`, `${other.host}/far/copy:2`, ...flags)).toMatchObject({
      presentBlobs: 3,
      copiedSize: 0,
    });
    expect(await other.sessions("far/copy")).toEqual([]);
  });

  it("takes an index with all its images", async () => {
    await using pusher = new ImagePusher(registry.host, "vi/index");
    const small = { layers: [{ content: patternBytes(1000, 1) }] };
    const entries = [
      await pusher.image({ ...small, platform: { os: "linux", architecture: "amd64" } }),
      await pusher.image({
        layers: [...small.layers, { content: patternBytes(2000, 2) }],
        platform: { os: "linux", architecture: "arm64" },
      }),
    ];
    await pusher.index(entries, "t");
    await using other = await startRegistry();
    // The layer that both images have is sent once.
    expect(await copy(`${registry.host}/vi/index:t`, `${other.host}/vi/index:t`)).toMatchObject({ copiedBlobs: 4 });
    expect(await rawManifest(`${other.host}/vi/index:t`)).toBe(await rawManifest(`${registry.host}/vi/index:t`));
    expect(await rawManifest(`${other.host}/vi/index@${entries[1]!.digest}`)).toContain("layers");
  });

  it("goes on after the registry was killed and started again", async () => {
    await using other = await startRegistry();
    await using slow = await CountingProxy.start(other.host);
    const copying = copy(`${registry.host}/vi/ns/source:uid`, `${slow.host}/far/killed:1`);
    while (slow.of("PATCH", /far\/killed/).length === 0) await new Promise((resolve) => setImmediate(resolve));
    await other.restart();
    expect(await copying).toMatchObject({ copiedBlobs: 3 });
    expect(await rawManifest(`${other.host}/far/killed:1`)).toBe(
      await rawManifest(`${registry.host}/vi/ns/source:uid`),
    );
  });

  it("of a missing image says so and leaves nothing", async () => {
    await expect(copy(`${registry.host}/vi/ns/none:uid`, `${registry.host}/cvi/none:uid`)).rejects.toThrow(
      /E_SOURCE_NOT_FOUND: /,
    );
    expect(await registry.tags("cvi/none")).toEqual([]);
  });
});

describe("dvcr-importer", () => {
  it("copies a dvcr source with the destination's credentials and reports its duration alone", async () => {
    await using closed = await startRegistry({ auth: true, tls: true });
    await using pusher = new ImagePusher(closed.host, "vi/ns/source");
    await pusher.image(image, "uid");
    const importer = startExecutable("dvcr-importer", directory, {
      IMPORTER_SOURCE: "dvcr",
      IMPORTER_ENDPOINT: `${closed.host}/vi/ns/source:uid`,
      INSECURE_TLS: "false",
      IMPORTER_DESTINATION_ENDPOINT: `${closed.host}/cvi/copy:uid2`,
      IMPORTER_DESTINATION_AUTH_CONFIG: writeAuthConfig(directory, closed),
      DESTINATION_INSECURE_TLS: "true",
    });
    expect(await importer.exit).toBe(0);
    expect(importer.message()).toEqual({ duration: expect.any(Number) as number });
    expect(await closed.tags("cvi/copy")).toEqual(["uid2"]);
  });
});
