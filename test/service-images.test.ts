import { mkdir, readdir, stat, truncate, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";

import { blobPath } from "../src/destination/oci-layer.ts";
import { defaultRetryPolicy } from "../src/retry/retry.ts";
import { EmbeddedPlace } from "../src/service/images/embedded-place.ts";
import type { ImagePlace } from "../src/service/images/image-place.ts";
import type { ImageName } from "../src/service/model/names.ts";
import { RegistryPlace } from "../src/service/images/registry-place.ts";
import { startRegistry, testUser } from "./support/registry.ts";
import { sampleImage, storeSample, writeAll } from "./support/sample-image.ts";
import { temporaryDirectory } from "./support/tools.ts";

const { signal } = new AbortController();
const host = "images.example:8443";
const nameOf = (text: string): ImageName => ({
  repository: text.slice(0, text.lastIndexOf(":")),
  tag: text.slice(text.lastIndexOf(":") + 1),
});
const [one, two, three] = ["cvi/ubuntu:uid-1", "vi/team-a/ubuntu:uid-2", "vi/team-a/debian:uid-3"].map(nameOf) as [
  ImageName,
  ImageName,
  ImageName,
];

async function listed(place: ImagePlace): Promise<string[]> {
  const names: string[] = [];
  for await (const { repository, tag } of place.list(signal)) names.push(`${repository}:${tag}`);
  return names.sort();
}

const blobsIn = (directory: string) => readdir(join(directory, "blobs/sha256"));

test("an image is stored, copied without a byte more, and gone with its last name", async () => {
  await using work = await temporaryDirectory();
  const place = await EmbeddedPlace.open({ directory: work.path, host });
  const [first, second] = [await sampleImage(), await sampleImage("docker")];
  expect(await place.has(one)).toBe(false);
  await storeSample(place.destination(one), first);
  await storeSample(place.destination(three), second);
  expect(place.urlOf(two)).toBe("images.example:8443/vi/team-a/ubuntu:uid-2");
  const { used } = await place.usage();
  const sizes = await Promise.all(
    (await blobsIn(work.path)).map(async (name) => (await stat(join(work.path, "blobs/sha256", name))).size),
  );
  expect(used).toBe(sizes.reduce((sum, size) => sum + size, 0));

  await place.copy(one, two, signal);
  expect((await place.usage()).used).toBe(used);
  expect((await place.destination(two).current(signal))?.manifestDigest).toBe(first.image.manifestDigest);
  await place.remove(one, signal);
  expect([await place.has(one), await place.has(two), await place.has(three)]).toEqual([false, true, true]);
  await place.remove(two, signal);
  await place.remove(two, signal);
  expect(await listed(place)).toEqual(["vi/team-a/debian:uid-3"]);
  expect((await blobsIn(work.path)).sort()).toEqual(
    [second.layerDigest, second.image.configDigest, second.image.manifestDigest]
      .map((digest) => digest.slice(7))
      .sort(),
  );
  await expect(place.copy(one, two, signal)).rejects.toMatchObject({ code: "E_SOURCE_NOT_FOUND" });
  await place.close();
});

test("what is written and has no tag yet outlives removals, and goes where the import ends without one", async () => {
  await using work = await temporaryDirectory();
  const place = await EmbeddedPlace.open({ directory: work.path, host });
  const sample = await sampleImage();
  await storeSample(place.destination(one), sample);
  const destination = place.destination(two);
  const upload = await destination.beginLayer(signal);
  await writeAll(upload, sample.layer);
  await upload.commit(sample.layerDigest, sample.layer.length);
  await place.remove(one, signal);
  expect(await place.blobs.exclusively(() => place.blobs.removeUnneeded())).toBe(0);
  expect(await blobsIn(work.path)).toEqual([sample.layerDigest.slice(7)]);
  await destination.commitImage(sample.image, signal);
  await destination.close();
  expect(await place.has(two)).toBe(true);

  const other = await sampleImage();
  const abandoned = place.destination(three);
  const lost = await abandoned.beginLayer(signal);
  await writeAll(lost, other.layer);
  await lost.commit(other.layerDigest, other.layer.length);
  await abandoned.close();
  expect(await blobsIn(work.path)).not.toContain(other.layerDigest.slice(7));
  expect(await place.has(two)).toBe(true);
});

test("imports and removals of the same layer at the same time leave every tagged image whole", async () => {
  await using work = await temporaryDirectory();
  const place = await EmbeddedPlace.open({ directory: work.path, host });
  const sample = await sampleImage("oci", 100_000);
  await Promise.all(
    Array.from({ length: 12 }, async (_, index) => {
      const name = nameOf(`cvi/same-${index}:uid`);
      for (let turn = 0; turn < 3; turn++) {
        await storeSample(place.destination(name), sample);
        expect(await place.has(name)).toBe(true);
        if (turn < 2 || index % 2 === 0) await place.remove(name, signal);
      }
    }),
  );
  expect(await listed(place)).toEqual([1, 3, 5, 7, 9, 11].map((index) => `cvi/same-${index}:uid`).sort());
  for await (const name of place.list()) expect(await place.has(name)).toBe(true);
  for await (const name of place.list()) await place.remove(name, signal);
  expect([await blobsIn(work.path), (await place.usage()).used]).toEqual([[], 0]);
});

test("a new image at the same name frees what only the old one used", async () => {
  await using work = await temporaryDirectory();
  const place = await EmbeddedPlace.open({ directory: work.path, host });
  const [first, second] = [await sampleImage(), await sampleImage()];
  await storeSample(place.destination(one), first);
  await storeSample(place.destination(one), second);
  expect((await blobsIn(work.path)).length).toBe(3);
  expect((await place.destination(one).current(signal))?.manifestDigest).toBe(second.image.manifestDigest);
});

test("the capacity bounds what is written, and can be raised while running", async () => {
  await using work = await temporaryDirectory();
  const place = await EmbeddedPlace.open({ directory: work.path, host, limit: 4_000_000 });
  const [first, second] = [await sampleImage(), await sampleImage()];
  await storeSample(place.destination(one), first);
  expect(await place.usage()).toMatchObject({ capacity: 4_000_000 });
  const refused = storeSample(place.destination(two), second);
  await expect(refused).rejects.toMatchObject({ code: "E_PLACE_FULL" });
  expect((await blobsIn(work.path)).length).toBe(3);
  expect((await readdir(work.path)).filter((name) => name.endsWith(".part"))).toEqual([]);
  const before = await place.usage();
  expect(before.used + before.free).toBe(before.capacity);
  place.setLimit(10_000_000);
  expect((await place.usage()).free).toBe(before.free + 6_000_000);
  await storeSample(place.destination(two), second);
  place.setLimit(undefined);
  expect((await place.usage()).free).toBeGreaterThan(10_000_000);
});

test("a start removes what a killed import left, and nothing else", async () => {
  await using work = await temporaryDirectory();
  const sample = await sampleImage();
  const first = await EmbeddedPlace.open({ directory: work.path, host });
  await storeSample(first.destination(one), sample);
  const orphan = "a".repeat(64);
  for (const name of [
    ".dvcr-0011.part",
    "index.json.00ff.tmp",
    "index.json.lock",
    `blobs/sha256/${orphan}`,
    `blobs/sha256/${orphan}.00ff.tmp`,
  ]) {
    await writeFile(join(work.path, name), "left over");
  }
  const again = await EmbeddedPlace.open({ directory: work.path, host });
  expect(await readdir(work.path)).toEqual(["blobs", "index.json", "oci-layout"]);
  expect((await blobsIn(work.path)).length).toBe(3);
  expect(await again.has(one)).toBe(true);
});

test("an image that lost a blob is lost, and whole again after its import", async () => {
  await using work = await temporaryDirectory();
  const place = await EmbeddedPlace.open({ directory: work.path, host });
  const sample = await sampleImage();
  const damages: ((path: (digest: string) => string) => Promise<void>)[] = [
    (path) => unlink(path(sample.layerDigest)),
    (path) => truncate(path(sample.layerDigest), 10),
    (path) => unlink(path(sample.image.manifestDigest)),
    (path) => writeFile(path(sample.image.configDigest), "{}"),
  ];
  for (const damage of damages) {
    await storeSample(place.destination(one), sample);
    expect(await place.has(one)).toBe(true);
    await damage((digest) => blobPath(work.path, digest));
    expect(await place.has(one)).toBe(false);
    await expect(place.copy(one, two, signal)).rejects.toMatchObject({ code: "E_SOURCE_NOT_FOUND" });
  }
  await storeSample(place.destination(one), sample);
  expect(await place.blobs.exclusively(() => place.blobs.removeUnneeded())).toBe(0);
  expect(await place.has(one)).toBe(true);
  const reopened = await EmbeddedPlace.open({ directory: work.path, host });
  expect(await reopened.has(one)).toBe(true);
});

test("a store that cannot be read says so", async () => {
  await using work = await temporaryDirectory();
  await mkdir(join(work.path, "blobs/sha256"), { recursive: true });
  await writeFile(join(work.path, "index.json"), "no JSON");
  await expect(EmbeddedPlace.open({ directory: work.path, host })).rejects.toMatchObject({ code: "E_LAYOUT_IO" });
});

test("a registry is a place too: stored, copied by mounting, listed, removed without touching a twin", async () => {
  await using registry = await startRegistry({ auth: true });
  const kept: ImageName[] = [];
  const access = { tls: { verify: false }, credentials: { userPassword: `${testUser.name}:${testUser.password}` } };
  const place = new RegistryPlace({ host: registry.host, access, onKept: (name) => kept.push(name) });
  const sample = await sampleImage();
  expect(await listed(place)).toEqual([]);
  await storeSample(place.destination(one), sample);
  await place.copy(one, two, signal);
  await place.copy(one, { ...one, tag: "uid-9" }, signal);
  await storeSample(place.destination(nameOf("other/x:1")), sample);
  expect(await listed(place)).toEqual(["cvi/ubuntu:uid-1", "cvi/ubuntu:uid-9", "vi/team-a/ubuntu:uid-2"]);
  expect((await place.destination(two).current(signal))?.manifestDigest).toBe(sample.image.manifestDigest);
  await place.remove(two, signal);
  await place.remove(two, signal);
  await place.remove(one, signal);
  expect(await place.has(two, signal)).toBe(false);
  expect(await place.has({ ...one, tag: "uid-9" }, signal)).toBe(true);
  // Registries before 3 remove by digest only, which would take the twin along.
  expect(kept.length === 0 || (await place.has(one, signal))).toBe(true);
  await expect(place.copy(two, three, signal)).rejects.toMatchObject({ code: "E_SOURCE_NOT_FOUND" });
  await registry.kill();
  const impatient = new RegistryPlace({
    host: registry.host,
    access: { ...access, retry: { ...defaultRetryPolicy, deadlineMs: 0 } },
  });
  await expect(impatient.has(one, signal)).rejects.toMatchObject({ code: "E_REGISTRY_UNAVAILABLE" });
});
