import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { RegistryDestination, type RegistryDestinationOptions } from "../src/destination/docker.ts";
import { ownKeys, type ManifestKind } from "../src/layer/image-config.ts";
import { mountBlob, readBlob, statBlob } from "../src/registry/blobs.ts";
import { credentialSource } from "../src/registry/credentials.ts";
import { statManifest } from "../src/registry/manifests.ts";
import { hexOf, sampleImage, writeAll, type SampleImage } from "./support/sample-image.ts";
import { startRegistry, testUser, type TestRegistry } from "./support/registry.ts";
import { temporaryDirectory, tool } from "./support/tools.ts";

const { signal } = new AbortController();
const anonymous = () => Promise.resolve(undefined);

function destination(
  registry: TestRegistry,
  options: Partial<RegistryDestinationOptions> = {},
  repository = "vi/a",
): RegistryDestination {
  return new RegistryDestination(
    { host: registry.host, repository, tag: "v1" },
    { tls: { verify: false }, credentials: anonymous, ...options },
  );
}

async function push(to: RegistryDestination, sample: SampleImage): Promise<void> {
  const upload = await to.beginLayer(signal);
  await writeAll(upload, sample.layer);
  await upload.commit(sample.layerDigest, sample.layer.length);
  await to.commitImage(sample.image, signal);
}

test.each<ManifestKind>(["oci", "docker"])("skopeo and umoci read back a pushed image (%s manifest)", async (kind) => {
  await using registry = await startRegistry();
  await using work = await temporaryDirectory();
  const sample = await sampleImage(kind, 20 * 1024 * 1024 + 5);
  const to = destination(registry);
  await push(to, sample);
  await to.close();
  const image = `docker://${registry.host}/vi/a:v1`;
  const inspected = JSON.parse(await tool("skopeo", "inspect", "--tls-verify=false", image)) as {
    Digest: string;
    Layers: string[];
  };
  expect(inspected).toMatchObject({ Digest: sample.image.manifestDigest, Layers: [sample.layerDigest] });
  const raw = await tool("skopeo", "inspect", "--raw", "--tls-verify=false", image);
  expect(Buffer.from(raw)).toEqual(Buffer.from(sample.image.manifest));
  await tool("skopeo", "copy", "--src-tls-verify=false", image, `oci:${work.path}/layout:v1`);
  await tool("umoci", "unpack", "--rootless", "--image", `${work.path}/layout:v1`, join(work.path, "bundle"));
  expect(hexOf(await readFile(join(work.path, "bundle/rootfs/disk/disk.img")))).toBe(hexOf(sample.disk));
  expect(await registry.sessions("vi/a")).toEqual([]);
});

test("what stands at a tag is told with its labels; nothing stands at a new one", async () => {
  await using registry = await startRegistry();
  const sample = await sampleImage();
  const to = destination(registry);
  expect(await to.current(signal)).toBeUndefined();
  await push(to, sample);
  expect(await to.current(signal)).toMatchObject({
    manifestDigest: sample.image.manifestDigest,
    layers: [{ digest: sample.layerDigest, size: sample.layer.length }],
    labels: { [ownKeys.sourceSize]: "4711" },
    annotations: { [ownKeys.encoder]: "test:1" },
  });
  expect(await statManifest(to.client, "vi/a", "v1", signal)).toBe(sample.image.manifestDigest);
  await to.close();
});

test("an aborted push leaves no session, no blob and no manifest", async () => {
  await using registry = await startRegistry();
  const sample = await sampleImage("oci", 20 * 1024 * 1024);
  const to = destination(registry);
  const upload = await to.beginLayer(signal);
  await writeAll(upload, sample.layer.subarray(0, 12 * 1024 * 1024));
  await vi.waitUntil(async () => (await registry.uploadedBytes("vi/a")) === 12 * 1024 * 1024);
  expect(await registry.sessions("vi/a")).toHaveLength(1);
  await upload.abort();
  await to.close();
  expect(await registry.sessions("vi/a")).toEqual([]);
  expect(await registry.tags("vi/a")).toEqual([]);
});

test("cancelling while bytes are on the way rejects the writers and removes the session", async () => {
  await using registry = await startRegistry();
  const cancel = new AbortController();
  const to = destination(registry);
  const upload = await to.beginLayer(cancel.signal);
  const writes = Promise.allSettled(Array.from({ length: 16 }, () => upload.write(Buffer.alloc(1024 * 1024, 7))));
  cancel.abort();
  expect((await writes).at(-1)).toMatchObject({ status: "rejected", reason: { code: "E_CANCELLED" } });
  await expect(upload.write(Buffer.alloc(1))).rejects.toMatchObject({ code: "E_CANCELLED" });
  await upload.abort();
  await to.close();
  expect(await registry.sessions("vi/a")).toEqual([]);
});

test("a few bytes reach the registry although nothing follows them", async () => {
  await using registry = await startRegistry();
  const to = destination(registry, { upload: { idleAfterMs: 50 } });
  const upload = await to.beginLayer(signal);
  await upload.write(Buffer.from("abc"));
  await vi.waitUntil(() => upload.acknowledgedBytes === 3);
  expect(await registry.uploadedBytes("vi/a")).toBe(3);
  await upload.abort();
  await to.close();
});

test("a wrong digest is refused and leaves nothing", async () => {
  await using registry = await startRegistry();
  const to = destination(registry);
  const upload = await to.beginLayer(signal);
  await writeAll(upload, Buffer.from("some bytes"));
  await expect(upload.commit(`sha256:${"0".repeat(64)}`, 10)).rejects.toMatchObject({
    code: "E_REGISTRY_REFUSED",
    message: expect.stringContaining("DIGEST_INVALID") as string,
  });
  await upload.abort();
  await to.close();
  expect(await registry.sessions("vi/a")).toEqual([]);
});

test(
  "Basic credentials are used, from a docker config too; wrong ones are E_REGISTRY_DENIED " + "without showing them",
  async () => {
    await using registry = await startRegistry({ auth: true });
    await using work = await temporaryDirectory();
    const authFile = join(work.path, "config.json");
    const auth = Buffer.from(`${testUser.name}:${testUser.password}`).toString("base64");
    await writeFile(authFile, JSON.stringify({ auths: { [registry.host]: { auth } } }));
    const good = destination(registry, { credentials: credentialSource(registry.host, "vi/a", { authFile }) });
    await push(good, await sampleImage());
    await good.close();
    for (const userPassword of [`${testUser.name}:wrong-secret`, undefined]) {
      const source = credentialSource(registry.host, "vi/a", userPassword === undefined ? {} : { userPassword });
      const bad = destination(registry, { credentials: source });
      const error: unknown = await bad.beginLayer(signal).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: "E_REGISTRY_DENIED" });
      expect(String(error)).not.toMatch(/wrong-secret|d3Jvbmctc2VjcmV0/);
      await bad.close();
    }
  },
);

test("a private CA is trusted by its directory; without it the error is E_REGISTRY_TLS", async () => {
  await using registry = await startRegistry({ tls: true });
  const sample = await sampleImage("oci", 5000);
  const trusted = destination(registry, { tls: { verify: true, certDirectory: registry.certDirectory } });
  await push(trusted, sample);
  await trusted.close();
  const unverified = destination(registry, { tls: { verify: false } });
  expect(await unverified.current(signal)).toMatchObject({ manifestDigest: sample.image.manifestDigest });
  await unverified.close();
  const untrusting = destination(registry, { tls: { verify: true } });
  await expect(untrusting.beginLayer(signal)).rejects.toMatchObject({ code: "E_REGISTRY_TLS" });
  await untrusting.close();
});

test("plain http is refused unless verification is off", async () => {
  await using registry = await startRegistry();
  const to = destination(registry, { tls: { verify: true } });
  await expect(to.beginLayer(signal)).rejects.toMatchObject({ code: "E_REGISTRY_TLS" });
  await to.close();
});

test("a blob is mounted from another repository and read back verified", async () => {
  await using registry = await startRegistry();
  const sample = await sampleImage();
  const to = destination(registry);
  await push(to, sample);
  expect(await mountBlob(to.client, "vi/b", sample.layerDigest, "vi/a", signal)).toBe(true);
  expect(await statBlob(to.client, "vi/b", sample.layerDigest, signal)).toBe(sample.layer.length);
  expect(await mountBlob(to.client, "vi/b", `sha256:${"1".repeat(64)}`, "vi/a", signal)).toBe(false);
  expect(await registry.sessions("vi/b")).toEqual([]);
  const parts: Uint8Array[] = [];
  for await (const part of readBlob(
    to.client,
    "vi/b",
    { digest: sample.layerDigest, size: sample.layer.length },
    signal,
  ))
    parts.push(part);
  expect(hexOf(Buffer.concat(parts))).toBe(hexOf(sample.layer));
  await to.close();
});

test("a registry killed between PATCHes is waited for and the push goes on where it was", async () => {
  await using registry = await startRegistry();
  const sample = await sampleImage("oci", 24 * 1024 * 1024);
  const pauses: string[] = [];
  let restarted: Promise<void> | undefined;
  const onRetry = ({ error }: { error: Error }): void => {
    pauses.push(error.message);
    restarted ??= registry.start();
  };
  // The pause before the next try is the time the registry takes to come back.
  const clock = { now: () => performance.now(), random: () => 0, sleep: async () => restarted };
  const to = destination(registry, { onRetry, clock, upload: { idleAfterMs: 50 } });
  const upload = await to.beginLayer(signal);
  await writeAll(upload, sample.layer.subarray(0, 8 * 1024 * 1024));
  await vi.waitUntil(() => upload.acknowledgedBytes === 8 * 1024 * 1024);
  await registry.kill();
  await writeAll(upload, sample.layer.subarray(8 * 1024 * 1024));
  await upload.commit(sample.layerDigest, sample.layer.length);
  await to.commitImage(sample.image, signal);
  expect(pauses.length).toBeGreaterThan(0);
  expect(await to.current(signal)).toMatchObject({ layers: [{ digest: sample.layerDigest }] });
  await to.close();
});

test("a read-only registry is waited for", async () => {
  await using registry = await startRegistry({ readonly: true });
  const codes: string[] = [];
  let reopened: Promise<void> | undefined;
  const onRetry = ({ error }: { error: { code: string } }): void => {
    codes.push(error.code);
    reopened ??= registry.restart(false);
  };
  const clock = { now: () => performance.now(), random: () => 0, sleep: async () => reopened };
  const to = destination(registry, { onRetry, clock });
  await push(to, await sampleImage());
  expect(codes[0]).toBe("E_REGISTRY_READONLY");
  expect(await registry.tags("vi/a")).toEqual(["v1"]);
  await to.close();
});
