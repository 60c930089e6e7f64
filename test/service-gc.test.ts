import { execFile } from "node:child_process";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { readTags } from "../src/destination/oci-index.ts";
import { createLogger } from "../src/log/logger.ts";
import { GarbageCollector } from "../src/service/gc/collector.ts";
import { askServer } from "../src/service/gc/control.ts";
import { checkText } from "../src/service/gc/report-text.ts";
import { startSchedule } from "../src/service/gc/schedule.ts";
import { startGcService } from "../src/service/gc/service.ts";
import { EmbeddedPlace } from "../src/service/images/embedded-place.ts";
import type { ImageObject } from "../src/service/model/image.ts";
import { imageNameOf } from "../src/service/model/names.ts";
import { DataDirectory } from "../src/service/store/data-directory.ts";
import { SqliteStore } from "../src/service/store/sqlite-store.ts";
import { sampleImage, storeSample, writeAll, type SampleImage } from "./support/sample-image.ts";
import { imageDraft } from "./support/service-store-contract.ts";
import { temporaryDirectory } from "./support/tools.ts";

const { signal } = new AbortController();
const log = createLogger({ verbosity: 0, output: 2 });
describe("garbage collection", () => {
  let work: Awaited<ReturnType<typeof temporaryDirectory>>;
  let data: string;
  let directory: DataDirectory;
  let store: SqliteStore;
  let place: EmbeddedPlace;
  let closers: (() => Promise<void>)[];

  beforeEach(async () => {
    work = await temporaryDirectory();
    data = join(work.path, "data");
    await open();
  });
  afterEach(async () => {
    await close();
    await work[Symbol.asyncDispose]();
  });

  async function open(): Promise<void> {
    directory = await DataDirectory.acquire(data);
    store = await SqliteStore.open(directory, { onError: (error) => expect.unreachable(String(error)) });
    place = await EmbeddedPlace.open({ directory: join(data, "images"), host: "h" });
    closers = [() => store.close(), () => place.close(), () => directory.release()];
  }
  async function close(): Promise<void> {
    for (const one of closers.splice(0)) await one();
  }

  /** Two images with resources, an image of a deleted one, one of an older namesake, and a blob of nobody. */
  async function plant(): Promise<{
    readonly kept: SampleImage;
    readonly wanted: ImageObject[];
    readonly orphan: string;
  }> {
    const [kept, lost] = await Promise.all([sampleImage("oci", 10_000), sampleImage("oci", 20_000)]);
    const create = (name: string, namespace?: string) =>
      store.create<ImageObject>(
        namespace === undefined ? "clustervirtualimages" : "virtualimages",
        imageDraft(name, namespace === undefined ? {} : { namespace }),
      );
    await forgotten(await create("ubuntu"), lost);
    await forgotten(await create("gone", "team-b"), kept);
    const wanted = [await create("ubuntu"), await create("debian", "team-a")];
    for (const object of wanted) await storeSample(place.destination(imageNameOf(object)), kept);
    const orphan = "b".repeat(64);
    await writeFile(join(data, "images/blobs/sha256", orphan), "x".repeat(5000));
    return { kept, wanted, orphan };
  }

  /** An image that stays behind when its resource is deleted. */
  async function forgotten(object: ImageObject, sample: SampleImage): Promise<void> {
    await storeSample(place.destination(imageNameOf(object)), sample);
    const { namespace = "", name } = object.metadata;
    await store.remove({ resource: namespace === "" ? "clustervirtualimages" : "virtualimages", namespace, name });
  }

  const blobs = () => readdir(join(data, "images/blobs/sha256"));
  const planted = [
    "ClusterVirtualImage                         ubuntu",
    "VirtualImage           team-b               gone",
  ];

  it("removes images without a resource and blobs without an image, and nothing that is under way", async () => {
    const { wanted, orphan } = await plant();
    // An import whose layer is there and whose tag is not.
    const other = await sampleImage("oci", 30_000);
    const coming = await store.create<ImageObject>("clustervirtualimages", imageDraft("coming"));
    const destination = place.destination(imageNameOf(coming));
    const upload = await destination.beginLayer(signal);
    await writeAll(upload, other.layer);
    await upload.commit(other.layerDigest, other.layer.length);

    const collector = new GarbageCollector({ store, place, blobs: place.blobs, log });
    const before = await collector.check();
    expect([before.images, before.resources, before.stale.map(({ image }) => image.repository)]).toEqual([
      { cvi: 2, vi: 2, vd: 0 },
      { cvi: 2, vi: 1, vd: 0 },
      ["cvi/ubuntu", "vi/team-b/gone"],
    ]);
    expect(await blobs()).toContain(orphan);
    const { removed, freed, report } = await collector.run();
    expect(removed).toEqual(before.stale);
    expect(freed).toBe(before.usage.used - report.usage.used);
    expect(freed).toBeGreaterThan(5000 + 20_000);
    expect(report.stale).toEqual([]);
    expect(await blobs()).not.toContain(orphan);
    for (const object of wanted) expect(await place.has(imageNameOf(object))).toBe(true);
    await destination.commitImage(other.image, signal);
    await destination.close();
    expect(await place.has(imageNameOf(coming))).toBe(true);
  });

  it("holds new imports back while it runs, and once only where it is asked for twice", async () => {
    await plant();
    const collector = new GarbageCollector({ store, place, blobs: place.blobs, log });
    let opened = 0;
    const stop = collector.gate.onOpen(() => (opened += 1));
    expect(collector.gate.isOpen()).toBe(true);
    const [first, second] = [collector.run(), collector.run()];
    expect(collector.gate.isOpen()).toBe(false);
    expect(await first).toBe(await second);
    expect([collector.gate.isOpen(), opened]).toEqual([true, 1]);
    stop();
    await collector.run();
    expect(opened).toBe(1);
  });

  it("keeps images that the database has never known, says so, and removes them when forced", async () => {
    const { wanted } = await plant();
    const strange = { repository: "cvi/strange", tag: "uid-of-another-database" };
    await storeSample(place.destination(strange), await sampleImage("oci", 5000));
    const collector = new GarbageCollector({ store, place, blobs: place.blobs, log });
    const { removed, report } = await collector.run();
    expect(removed).toHaveLength(2);
    expect(report.unknown.map(({ image }) => image)).toEqual([strange]);
    expect(checkText(report)).toMatch(/\nImages kept, since [^\n]*\nKIND [^\n]*\nClusterVirtualImage +strange\n$/);
    expect(await place.has(strange)).toBe(true);
    expect((await collector.run({ force: true })).removed.map(({ image }) => image)).toEqual([strange]);
    expect(await place.has(strange)).toBe(false);
    for (const object of wanted) expect(await place.has(imageNameOf(object))).toBe(true);
  });

  it("removes nothing where more would go than its share, unless forced", async () => {
    await plant();
    const refusing = new GarbageCollector({ store, place, blobs: place.blobs, log, maxShare: 0.49 });
    const before = await blobs();
    await expect(refusing.run()).rejects.toMatchObject({
      code: "E_GC_REFUSED",
      message: expect.stringContaining("2 of 4 images would go, more than 49 percent") as string,
    });
    expect(await blobs()).toEqual(before);
    expect(refusing.gate.isOpen()).toBe(true);
    expect((await refusing.run({ force: true })).removed).toHaveLength(2);
  });

  it("removes nothing where most of what is Ready is missing in the list of images", async () => {
    const { wanted } = await plant();
    for (const object of wanted)
      await store.update(object.kind === "VirtualImage" ? "virtualimages" : "clustervirtualimages", {
        ...object,
        status: { phase: "Ready" },
      });
    const collector = new GarbageCollector({ store, place, blobs: place.blobs, log });
    const index = join(data, "images/index.json");
    const whole = await readFile(index, "utf8");
    const before = await blobs();
    await writeFile(index, JSON.stringify({ schemaVersion: 2, manifests: [] }));
    await expect(collector.run()).rejects.toMatchObject({ code: "E_GC_REFUSED" });
    await rm(index);
    await expect(collector.run({ force: true })).rejects.toMatchObject({ code: "E_LAYOUT_IO" });
    expect(await blobs()).toEqual(before);
    await writeFile(index, whole);
    expect((await collector.run()).removed).toHaveLength(2);
  });

  it("keeps every blob while the manifest of a tag cannot be read: any may be its layer", async () => {
    const { orphan } = await plant();
    const [, entry] = [...(await readTags(join(data, "images"))).entries()].at(-1)!;
    const manifest = join(data, "images/blobs/sha256", entry.digest.slice(7));
    const text = await readFile(manifest);
    await rm(manifest);
    await close();
    await open();
    expect(await blobs()).toContain(orphan);
    await writeFile(manifest, text);
    await close();
    await open();
    expect(await blobs()).not.toContain(orphan);
  });

  it("forgets what it has removed, and nothing that is still there", async () => {
    await plant();
    expect((await store.deletedImages()).size).toBe(2);
    const collector = new GarbageCollector({ store, place, blobs: place.blobs, log });
    await collector.run();
    expect((await store.deletedImages()).size).toBe(0);
  });

  it("opens the gate again where it fails", async () => {
    const collector = new GarbageCollector({ store, place, blobs: place.blobs, log });
    await writeFile(join(data, "images/index.json"), "no JSON");
    await expect(collector.run()).rejects.toMatchObject({ code: "E_LAYOUT_IO" });
    expect(collector.gate.isOpen()).toBe(true);
  });

  it("runs by schedule", async () => {
    let runs = 0;
    const run = () => Promise.resolve((runs += 1) as never);
    const schedule = startSchedule("* * * * * *", { run }, (error) => expect.unreachable(String(error)));
    await expect.poll(() => runs, { timeout: 20_000 }).toBeGreaterThan(0);
    schedule.stop();
    const nightly = startSchedule("0 2 * * *", { run }, () => undefined);
    expect([nightly.next()?.getHours(), nightly.next()?.getMinutes()]).toEqual([2, 0]);
    nightly.stop();
    expect(() => startSchedule("at night", { run }, () => undefined)).toThrow(
      expect.objectContaining({ code: "E_CONFIG" }),
    );
  });

  it("is done by the server where one runs, by the command where none does", async () => {
    const { wanted, orphan } = await plant();
    const service = startGcService({ directory, store, place, blobs: place.blobs, log });
    const running = await dvcr("dvcr-cleaner", "gc", "check", "--data-dir", data);
    expect(running).toMatchObject({ code: 0, stderr: "" });
    expect(running.stdout.split("\n").slice(0, 2)).toEqual([
      "Found 2 cvi, 2 vi, 0 vd manifests in registry",
      "Found 1 cvi, 1 vi, 0 vd resources in cluster",
    ]);
    expect(running.stdout.split("\n").slice(4, 8)).toEqual([
      "Images eligible for cleanup:",
      "KIND                   NAMESPACE            NAME",
      ...planted,
    ]);
    expect(await dvcr("dvcr", "gc", "run", "--data-dir", data)).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringContaining("--yes") as string,
    });
    await service.close();
    await close();

    const alone = await dvcr("dvcr", "gc", "check", "--data-dir", data);
    expect([alone.code, alone.stdout.split("\n").slice(4, 8)]).toEqual([0, running.stdout.split("\n").slice(4, 8)]);
    expect(await blobs()).toContain(orphan);
    const run = await dvcr("dvcr", "gc", "run", "--yes", "--data-dir", data);
    expect(run).toMatchObject({ code: 0, stderr: "" });
    expect(run.stdout.split("\n").slice(0, 4)).toEqual([
      "Images removed:",
      "KIND                   NAMESPACE            NAME",
      ...planted,
    ]);
    expect(run.stdout).toMatch(/\nFreed space after cleanup: \d\S*KiB\n {2}Total {5}Used {4}Avail {5}Use%\n/);
    expect((await dvcr("dvcr", "gc", "check", "--data-dir", data)).stdout).toContain(
      "\nNo images eligible for auto-cleanup.\n",
    );
    expect(await blobs()).not.toContain(orphan);
    await open();
    for (const object of wanted) expect(await place.has(imageNameOf(object))).toBe(true);
  });

  it("gc run through the server removes, and other requests to its socket are refused", async () => {
    await plant();
    const service = startGcService({ directory, store, place, blobs: place.blobs, log, schedule: "0 2 * * *" });
    const run = await dvcr("dvcr", "gc", "run", "--yes", "--data-dir", data);
    expect([run.code, run.stdout.split("\n").slice(2, 4)]).toEqual([0, planted]);
    expect((await askServer(data, "check")).stale).toEqual([]);
    directory.answerWith((_request, response) =>
      response.writeHead(500).end(JSON.stringify({ code: "E_LAYOUT_IO", message: "broken" })),
    );
    await expect(askServer(data, "run")).rejects.toMatchObject({ code: "E_LAYOUT_IO", message: "broken" });
    await service.close();
  });

  it("says what is wrong with its use", async () => {
    expect(await dvcr("dvcr", "gc", "--data-dir", data)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("check or run") as string,
    });
    expect(await dvcr("dvcr", "gc", "check", "--data-dir", join(data, "none"))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no data directory") as string,
    });
    expect(await dvcr("dvcr", "gc", "check", "--registry", "dvcr.example", "--data-dir", data)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("dvcr.example") as string,
    });
    expect(await readdir(data)).not.toContain("none");
  });
});

function dvcr(name: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(fileURLToPath(new URL(`../bin/${name}`, import.meta.url)), args, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}
