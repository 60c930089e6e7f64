/**
 * Registries as people report of them. What is pushed is read back and pushed on to the same registry by skopeo: what
 * skopeo can do there, dvcr can.
 */
import { expect, test, vi } from "vitest";

import { RegistryDestination, type RegistryDestinationOptions } from "../src/destination/docker.ts";
import { isUploadLost } from "../src/destination/destination.ts";
import type { LayerInsurance } from "../src/layer/layer-upload.ts";
import type { ImageManifest } from "../src/layer/image-config.ts";
import { mountBlob } from "../src/registry/blobs.ts";
import { RegistryClient } from "../src/registry/client.ts";
import { FieldRegistry, type FieldBehaviour } from "./support/field-registry.ts";
import { FakeClock } from "./support/fake-registry.ts";
import { sampleImage, sendSample, writeAll, type SampleImage } from "./support/sample-image.ts";
import { tool } from "./support/tools.ts";

const { signal } = new AbortController();
const mebibyte = 2 ** 20;
const sample = await sampleImage("oci", 20 * mebibyte + 5);

/** A copy of the layer in memory. */
function unlimited(): LayerInsurance {
  const kept: Buffer[] = [];
  return {
    get size() {
      return kept.reduce((sum, chunk) => sum + chunk.length, 0);
    },
    append: (chunks) => {
      kept.push(...chunks.map((chunk) => Buffer.from(chunk)));
      return Promise.resolve(true);
    },
    // eslint-disable-next-line @typescript-eslint/require-await -- as of a file
    async *read(offset, length) {
      yield Buffer.concat(kept).subarray(offset, offset + length);
    },
    close: () => Promise.resolve(),
  };
}

interface Pushed {
  readonly clock: FakeClock;
  readonly notices: string[];
}

async function push(
  registry: FieldRegistry,
  options: Partial<RegistryDestinationOptions> = {},
  image: SampleImage = sample,
): Promise<Pushed> {
  const clock = new FakeClock();
  const notices: string[] = [];
  const to = new RegistryDestination(
    { host: registry.host, repository: "team/disk", tag: "1" },
    {
      tls: { verify: false },
      credentials: () => Promise.resolve(undefined),
      clock,
      ...options,
      upload: { onNotice: (text) => notices.push(text), ...options.upload },
    },
  );
  // As an import of a source that can be read again.
  for (let tries = 1; ; tries += 1) {
    try {
      await sendSample(to, image);
      break;
    } catch (error) {
      if (!isUploadLost(error) || tries === 5) throw error;
    }
  }
  await to.close();
  return { clock, notices };
}

/** skopeo reads what is there, checking every digest, and pushes it to another repository of the registry. */
async function skopeoCopies(registry: FieldRegistry): Promise<void> {
  const flags = ["--src-tls-verify=false", "--dest-tls-verify=false"];
  await tool(
    "skopeo",
    "copy",
    ...flags,
    `docker://${registry.host}/team/disk:1`,
    `docker://${registry.host}/other/disk:1`,
  );
}

function expectStored(
  registry: FieldRegistry,
  { image, layerDigest, layer }: { image: ImageManifest } & SampleImage,
): void {
  expect(registry.blobs.get(`team/disk@${layerDigest}`)?.equals(layer)).toBe(true);
  expect(registry.blobs.has(`team/disk@${image.configDigest}`)).toBe(true);
  expect(registry.tags("team/disk")).toEqual(["1"]);
  expect([...registry.uploads.keys()]).toEqual([]);
}

const layerPatches = (registry: FieldRegistry) =>
  registry.of("PATCH", /team\/disk/).filter(({ length }) => length > 10_000);

test.each<[string, FieldBehaviour]>([
  ["takes 4 MiB of a PATCH with Content-Range at most (GHCR)", { chunkLimit: 4 * mebibyte }],
  ["answers 201 and the Range of the first part (ECR)", { range: "first", patched: 201 }],
  ["tells the last part as the Range (Aliyun)", { range: "last" }],
  ["takes one PATCH alone, and answers 400 to a second (Google Artifact Registry)", { secondPatch: 400 }],
  ["takes one PATCH alone, and answers 404 to a second", { secondPatch: 404 }],
  ["takes one PATCH alone, and answers 405 to a second", { secondPatch: 405 }],
  ["takes one PATCH alone, and answers 416 to a second", { secondPatch: 416 }],
  ["takes one PATCH alone, and answers 500 to a second", { secondPatch: 500 }],
  ["keeps the last part alone and checks nothing (Artifactory)", { keepsLastPart: true, range: "last" }],
])("a registry that %s gets the layer in one PATCH, without a pause", async (_, behaviour) => {
  await using registry = await FieldRegistry.start(behaviour);
  const { clock } = await push(registry);
  expectStored(registry, sample);
  expect(layerPatches(registry)).toMatchObject([{ length: sample.layer.length }]);
  expect(layerPatches(registry)[0]?.headers["content-range"]).toBeUndefined();
  expect(clock.sleeps).toEqual([]);
  await skopeoCopies(registry);
});

test.each<[string, FieldBehaviour, number]>([
  ["411 to a body without a length", { needsLength: true }, 8 * mebibyte],
  ["413 to more than 10 MiB (Cloudflare)", { bodyLimit: 10 * mebibyte }, 8 * mebibyte],
  ["413 to more than 1 MiB (nginx)", { bodyLimit: mebibyte }, mebibyte],
  [
    "413 to more than 10 MiB and 416 to a range of more than 4 MiB",
    { bodyLimit: 10 * mebibyte, chunkLimit: 4 * mebibyte },
    4 * mebibyte,
  ],
])("a registry that answers %s gets it in parts, in the same run", async (_, behaviour, largest) => {
  await using registry = await FieldRegistry.start(behaviour);
  const { clock } = await push(registry, { upload: { patchChunks: 64 } });
  expectStored(registry, sample);
  const taken = layerPatches(registry).filter(({ status }) => status === 202);
  expect(Math.max(...taken.map(({ length }) => length))).toBe(largest);
  expect(clock.sleeps).toEqual([]);
});

/** Pushes the layer with a pause in its middle that is longer than an open PATCH waits. */
async function pushIdle(registry: FieldRegistry): Promise<FakeClock> {
  const clock = new FakeClock();
  const to = new RegistryDestination(
    { host: registry.host, repository: "team/disk", tag: "1" },
    {
      tls: { verify: false },
      credentials: () => Promise.resolve(undefined),
      clock,
      upload: { idleAfterMs: 60, heldChunks: 64 },
    },
  );
  const upload = await to.beginLayer(signal, unlimited());
  const half = 10 * mebibyte;
  await writeAll(upload, sample.layer.subarray(0, half));
  await vi.waitUntil(() => upload.acknowledgedBytes === half);
  await writeAll(upload, sample.layer.subarray(half));
  await upload.commit(sample.layerDigest, sample.layer.length);
  await to.commitImage(sample.image, signal);
  await to.close();
  return clock;
}

test("an idle source: the open PATCH is ended in order and another begun later", async () => {
  await using registry = await FieldRegistry.start();
  const clock = await pushIdle(registry);
  expectStored(registry, sample);
  expect(layerPatches(registry).map(({ length, status }) => ({ length, status }))).toEqual([
    { length: 10 * mebibyte, status: 202 },
    { length: sample.layer.length - 10 * mebibyte, status: 202 },
  ]);
  expect(clock.sleeps).toEqual([]);
});

test.each([400, 404, 405, 416, 500])(
  "an idle source, and %i to the second PATCH: all of it goes into another session, from the kept copy",
  async (secondPatch) => {
    await using registry = await FieldRegistry.start({ secondPatch, sessionGet: 404 });
    await pushIdle(registry);
    expectStored(registry, sample);
    expect(layerPatches(registry).at(-1)).toMatchObject({ length: sample.layer.length, status: 202 });
  },
);

test.each([400, 404, 405])(
  "GET of a session is %i: after a cut PATCH all is sent in a new session",
  async (sessionGet) => {
    await using registry = await FieldRegistry.start({ sessionGet, cutFirst: 3 * mebibyte });
    await push(registry);
    expectStored(registry, sample);
    expect(layerPatches(registry)).toMatchObject([{ status: 0 }, { status: 202, length: sample.layer.length }]);
    await skopeoCopies(registry);
  },
);

test.each([400, 404, 405])(
  "a mount that opens a session instead, which cannot be asked for (%i) nor removed, is no failure",
  async (status) => {
    await using registry = await FieldRegistry.start({ sessionGet: status, sessionDelete: status });
    const client = new RegistryClient({
      host: registry.host,
      tls: { verify: false },
      credentials: () => Promise.resolve(undefined),
    });
    expect(await mountBlob(client, "team/disk", sample.layerDigest, "elsewhere", signal)).toBe(false);
    await client.close();
    expect(registry.of("DELETE")).toHaveLength(1);
  },
);

test("a registry that stores less than it was sent is found out: no tag, an error of its own", async () => {
  await using registry = await FieldRegistry.start({ keepsLastPart: true, needsLength: true });
  await expect(push(registry)).rejects.toMatchObject({ code: "E_REGISTRY_INCOMPLETE" });
  expect(registry.tags("team/disk")).toEqual([]);
  expect([...registry.blobs.keys()]).toEqual([]);
});

test("a blob that shows up late is waited for; one that never does is E_REGISTRY_INCOMPLETE", async () => {
  await using late = await FieldRegistry.start({ blobHeadMisses: 3 });
  // The first question is whether the config is there already.
  expect((await push(late)).clock.sleeps).toEqual([100, 200, 400]);
  expectStored(late, sample);
  await using never = await FieldRegistry.start({ blobHeadMisses: 100 });
  await expect(push(never)).rejects.toMatchObject({ code: "E_REGISTRY_INCOMPLETE" });
  expect(never.tags("team/disk")).toEqual([]);
});

test.each([401, 403, 405, "no-length"] as const)("HEAD of the blob is %s: said once, and stored", async (blobHead) => {
  await using registry = await FieldRegistry.start({ blobHead });
  const { notices } = await push(registry);
  expectStored(registry, sample);
  expect(notices).toEqual([expect.stringContaining("could not be checked") as string]);
  await skopeoCopies(registry);
});
