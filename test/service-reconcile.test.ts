/** The reconciler with real imports from a local server into the embedded place. */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { createLogger } from "../src/log/logger.ts";
import { defaultRetryPolicy } from "../src/retry/retry.ts";
import { GarbageCollector } from "../src/service/gc/collector.ts";
import type { ImageName } from "../src/service/images/image-place.ts";
import { RegistryPlace } from "../src/service/images/registry-place.ts";
import type { ImageObject, ImageStatus } from "../src/service/model/image.ts";
import { formatSpeed } from "../src/service/model/quantities.ts";
import { makeRawDisk, fileDigest, qemuConvert } from "./support/disks.ts";
import { FaultProxy } from "./support/fault-proxy.ts";
import { latch } from "./support/uploader.ts";
import { Origin } from "./support/origin.ts";
import { eventually } from "./support/pod.ts";
import { pullDisk } from "./support/pulled.ts";
import { startRegistry, testUser } from "./support/registry.ts";
import { messageOf, reasonOf, Reconciled, type ReconcileOptions } from "./support/service-reconcile.ts";
import { tool } from "./support/tools.ts";

let directory: string;
let disk: Buffer;
let diskSum: string;
let qcow2: Buffer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-service-reconcile-"));
  const raw = await makeRawDisk(join(directory, "disk.raw"), 16);
  disk = await readFile(raw);
  diskSum = await fileDigest(raw);
  qcow2 = await readFile(await qemuConvert(raw, join(directory, "disk.qcow2"), "-O", "qcow2"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

let service: Reconciled;
const origins: Origin[] = [];
afterEach(async () => {
  await service[Symbol.asyncDispose]();
  for (const origin of origins.splice(0)) await origin[Symbol.asyncDispose]();
});

async function begin(options?: ReconcileOptions): Promise<Reconciled> {
  return (service = await Reconciled.start(options));
}

async function serve(...args: Parameters<typeof Origin.start>): Promise<string> {
  const origin = await Origin.start(...args);
  origins.push(origin);
  return `${origin.url}/disk.img`;
}

const http = (url: string, more: object = {}) => ({ type: "HTTP" as const, http: { url, ...more } });
const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");
const percentOf = ({ progress }: ImageStatus): number => Number(progress?.replace("%", "") ?? 0);

/** What the status of an image tells of the only import that has ended. */
function speedOf([report, ...more]: Reconciled["reports"]): ImageStatus["downloadSpeed"] {
  expect(more).toEqual([]);
  expect(report?.averageSpeed).toBeGreaterThan(0);
  return { avg: formatSpeed(report!.averageSpeed), avgBytes: String(report!.averageSpeed) };
}

/** Exactly these events come to be; the last is written after the status. */
async function toldOf(name: string, ...reasons: string[]): Promise<void> {
  await eventually(async () => (await service.events(name)).length >= reasons.length);
  expect((await service.events(name)).sort()).toEqual([...reasons].sort());
}

describe("an image of type HTTP", () => {
  it("goes from Provisioning to Ready, and its status tells all of it", async () => {
    const { store } = await begin();
    const seen: ImageStatus[] = [];
    store.watch("clustervirtualimages", {}, ({ object }) => seen.push((object as ImageObject).status ?? {}));
    const created = await service.create(
      "ubuntu",
      http(await serve(qcow2, () => ({ trickle: true })), { checksum: { md5: md5(qcow2) } }),
    );
    const ready = await service.untilPhase("ubuntu", "Ready");

    const phases = seen
      .map(({ phase }) => phase)
      .filter((phase, index, all) => phase !== undefined && phase !== all[index - 1]);
    expect(phases.filter((phase) => phase !== "Pending")).toEqual(["Provisioning", "Ready"]);
    const percents = seen.map(percentOf);
    expect(percents).toEqual([...percents].sort((a, b) => a - b));
    expect(seen.filter(({ phase }) => phase === "Provisioning").every((status) => percentOf(status) < 100)).toBe(true);

    const { status } = ready;
    expect(status).toMatchObject({
      phase: "Ready",
      progress: "100%",
      cdrom: false,
      format: "raw",
      observedGeneration: 1,
    });
    expect(status?.size).toMatchObject({ unpacked: "16Mi", unpackedBytes: String(disk.length) });
    expect(Number(status?.size?.storedBytes)).toBeGreaterThan(0);
    expect(status?.downloadSpeed).toEqual(speedOf(service.reports));
    expect(status?.target?.registryURL).toBe(`images.test/cvi/ubuntu:${created.metadata.uid}`);
    expect(status?.imageUploadURLs).toBeUndefined();
    expect(status?.conditions?.map(({ type, status: is, reason }) => [type, is, reason])).toEqual([
      ["DatasourceReady", "True", "DatasourceReady"],
      ["Ready", "True", "Ready"],
    ]);
    await toldOf("ubuntu", "DataSourceImportStarted", "DataSourceImportCompleted");
    expect((await pullDisk(service.reference(ready), directory)).digest).toBe(diskSum);
  });

  it("tells the average speed of an import that is over before it was ever measured", async () => {
    await begin();
    await service.create("quick", http(await serve(disk.subarray(0, 1 << 16))));
    const ready = await service.untilPhase("quick", "Ready");
    expect(ready.status?.downloadSpeed).toEqual(speedOf(service.reports));
  });

  it("fails with the reason of a wrong checksum, and a corrected spec starts it again", async () => {
    await begin();
    const url = await serve(qcow2);
    await service.create("wrong", http(url, { checksum: { md5: "0".repeat(32) } }), "team-a");
    const failed = await service.until("wrong", ({ status }) => status?.phase === "Failed", "team-a");
    expect(reasonOf(failed)).toBe("ProvisioningFailed");
    expect(messageOf(failed)?.toLowerCase()).toContain("md5 sum mismatch");
    expect(await service.stored()).toEqual([]);
    await toldOf("wrong", "DataSourceImportStarted", "DataSourceImportFailed");

    await service.change("wrong", http(url, { checksum: { md5: md5(qcow2) } }), "team-a");
    const ready = await service.until("wrong", ({ status }) => status?.phase === "Ready", "team-a");
    expect(ready.status).toMatchObject({ observedGeneration: 2, progress: "100%" });
    expect(await service.stored()).toEqual([`vi/team-a/wrong:${ready.metadata.uid}`]);
  });

  it("whose spec changes while it runs is imported anew, by the new spec", async () => {
    await begin();
    const stalled = await serve(disk, () => ({ stallAfter: 1 << 20 }));
    await service.create("changed", http(stalled));
    await service.until("changed", ({ status }) => status?.progress !== undefined);
    await service.change("changed", http(await serve(qcow2)));
    const ready = await service.untilPhase("changed", "Ready");
    expect(ready.status?.observedGeneration).toBe(2);
    await toldOf("changed", "DataSourceImportStarted", "DataSourceImportStarted", "DataSourceImportCompleted");
    expect((await pullDisk(service.reference(ready), directory)).digest).toBe(diskSum);
  });

  it("that is deleted while it runs leaves nothing", async () => {
    await begin();
    await service.create("doomed", http(await serve(disk, () => ({ stallAfter: 1 << 20 }))));
    await service.until("doomed", ({ status }) => status?.progress !== undefined);
    await service.remove("doomed");
    await service.untilGone("doomed");
    expect(await service.stored()).toEqual([]);
    expect(service.place.blobs.digests.size).toBe(0);
  });

  it("tells what its source failed with while that is tried again, until bytes flow again", async () => {
    await begin();
    let away = true;
    const url = await serve(disk, (_, index) =>
      index === 0 ? { cutAfter: 1 << 20 } : away ? { status: 503 } : { stallAfter: 1 << 20 },
    );
    await service.create(
      "away",
      http(url.replace("http://", "http://user:password-of-nobody@").concat("?token=tell-nobody")),
    );
    const told = await service.until("away", (image) => messageOf(image)?.includes("answers 503") === true);
    expect(messageOf(told)).toMatch(
      /^the image is being imported; trying again after E_SOURCE_IO: http:\/\/127\.0\.0\.1:\d+\/disk\.img.* answers 503\. /,
    );
    expect(told.status?.phase).toBe("Provisioning");
    expect(JSON.stringify(told.status)).not.toMatch(/nobody/);
    away = false;
    const flowing = await service.until("away", (image) => messageOf(image) === "the image is being imported");
    const sinceOf = (image: ImageObject) =>
      image.status?.conditions?.map(({ lastTransitionTime }) => lastTransitionTime);
    expect(sinceOf(flowing)).toEqual(sinceOf(told));
    await toldOf("away", "DataSourceImportStarted");
  });

  it("tells what its registry failed with while that is tried again, until bytes flow again", async () => {
    let away = true;
    await using registry = await startRegistry();
    await using proxy = await FaultProxy.start(registry.host, ({ method }) =>
      method === "PUT" ? "hold" : away && method === "PATCH" ? "drop" : "pass",
    );
    const access = { tls: { verify: false }, credentials: {}, retry: { ...defaultRetryPolicy, maxDelayMs: 1000 } };
    await begin({ placed: () => new RegistryPlace({ host: proxy.host, access, upload: { abortGraceMs: 1 } }) });
    await service.create("away", http(await serve(qcow2)));
    const told = await service.until("away", (image) => messageOf(image)?.includes("E_REGISTRY_UNAVAILABLE") === true);
    expect(messageOf(told)).toContain("the image is being imported; trying again after E_REGISTRY_UNAVAILABLE: ");
    away = false;
    const flowing = await service.until("away", (image) => messageOf(image) === "the image is being imported");
    expect(flowing.status?.phase).toBe("Provisioning");
  });

  it("tells what a whole attempt failed with while there is another one", async () => {
    await begin();
    const replaced = { headers: { etag: '"two"' }, stallAfter: 0 };
    await service.create(
      "replaced",
      http(await serve(disk, (_, index) => (index === 0 ? { cutAfter: 1 << 20 } : replaced))),
    );
    const told = await service.until("replaced", (image) => messageOf(image)?.includes("E_SOURCE_CHANGED") === true);
    expect(messageOf(told)).toContain("the image is being imported; trying again after E_SOURCE_CHANGED: ");
    expect(told.status?.phase).toBe("Provisioning");
  });

  it("goes on by itself after a restart in the middle", async () => {
    await begin();
    let requests = 0;
    await service.create("again", http(await serve(qcow2, () => (requests++ === 0 ? { stallAfter: 1 << 19 } : {}))));
    // The first request is under way.
    await service.until("again", ({ status }) => status?.progress !== undefined);
    await service.restart();
    const ready = await service.untilPhase("again", "Ready");
    expect((await pullDisk(service.reference(ready), directory)).digest).toBe(diskSum);
  });

  it("with a CA bundle that holds no certificate waits for a better one", async () => {
    await begin();
    const url = await serve(qcow2);
    await service.create("trust", http(url, { caBundle: "YWFhCg==" }));
    const pending = await service.until("trust", (image) => reasonOf(image, "DatasourceReady") === "CABundleNotValid");
    expect(pending.status?.phase).toBe("Pending");
    expect(messageOf(pending, "DatasourceReady")).toContain("no PEM certificate");
    await service.change("trust", http(url));
    await service.untilPhase("trust", "Ready");
  });
});

describe("an image of type ObjectRef", () => {
  it("waits for its source, then is a copy with its sizes and format", async () => {
    await begin();
    await service.create(
      "copy",
      { type: "ObjectRef", objectRef: { kind: "ClusterVirtualImage", name: "source" } },
      "team-a",
    );
    const waiting = await service.until(
      "copy",
      (image) => reasonOf(image, "DatasourceReady") === "ClusterImageNotReady",
      "team-a",
    );
    expect(waiting.status?.phase).toBe("Pending");
    await service.create("source", http(await serve(qcow2)));
    const source = await service.untilPhase("source", "Ready");
    const copy = await service.untilPhase("copy", "Ready", "team-a");
    expect(copy.status).toMatchObject({
      size: source.status?.size,
      format: "raw",
      cdrom: false,
      digest: source.status?.digest,
      progress: "100%",
    });
    expect(copy.status?.downloadSpeed).toBeUndefined();
    await service.remove("source");
    await service.untilGone("source");
    expect((await pullDisk(service.reference(copy), directory)).digest).toBe(diskSum);
  });

  it("of another namespace's image is told so by ImageNotReady", async () => {
    await begin();
    await service.create("copy", {
      type: "ObjectRef",
      objectRef: { kind: "VirtualImage", name: "absent", namespace: "team-b" },
    });
    const waiting = await service.until("copy", (image) => reasonOf(image, "DatasourceReady") === "ImageNotReady");
    expect(messageOf(waiting, "DatasourceReady")).toBe("VirtualImage team-b/absent does not exist");
  });

  it("holds its source in Terminating until the copy has ended", async () => {
    const held = latch();
    const copying = latch();
    await begin({
      placed: (place) =>
        new Proxy(place, {
          get: (target, name) => {
            if (name !== "copy") {
              const value = Reflect.get(target, name) as unknown;
              return typeof value === "function" ? (value.bind(target) as unknown) : value;
            }
            return async (...args: Parameters<typeof place.copy>) => {
              copying.open();
              await held.opened;
              await target.copy(...args);
            };
          },
        }),
    });
    await service.create("source", http(await serve(qcow2)));
    await service.untilPhase("source", "Ready");
    await service.create("copy", { type: "ObjectRef", objectRef: { kind: "ClusterVirtualImage", name: "source" } });
    await copying.opened;
    await service.remove("source");
    const source = await service.until("source", ({ status }) => status?.phase === "Terminating");
    expect(await service.place.has({ repository: "cvi/source", tag: source.metadata.uid })).toBe(true);
    held.open();
    await service.untilGone("source");
    const copy = await service.untilPhase("copy", "Ready");
    expect(await service.stored()).toEqual([`cvi/copy:${copy.metadata.uid}`]);
  });

  it.each(["VirtualDisk", "VirtualDiskSnapshot"] as const)(
    "of a %s is told that the service has none",
    async (kind) => {
      await begin();
      await service.create("disk", { type: "ObjectRef", objectRef: { kind, name: "x" } }, "team-a");
      const pending = await service.until(
        "disk",
        (image) => reasonOf(image, "DatasourceReady") === `${kind}NotReady`,
        "team-a",
      );
      expect(pending.status?.phase).toBe("Pending");
      expect(messageOf(pending)).toContain("this service keeps images only");
    },
  );
});

describe("an image of type ContainerImage", () => {
  it("waits for its pull secret, uses it, and shows it nowhere", async () => {
    await using registry = await startRegistry({ auth: true });
    await begin({ settings: { DVCR_SERVE_SOURCE_INSECURE_TLS: "true" } });
    const file = join(directory, "layout");
    await tool("umoci", "init", "--layout", file);
    await tool("umoci", "new", "--image", `${file}:disk`);
    await tool(
      "umoci",
      "insert",
      "--rootless",
      "--image",
      `${file}:disk`,
      join(directory, "disk.qcow2"),
      "/disk/disk.qcow2",
    );
    await tool(
      "skopeo",
      "copy",
      "--dest-tls-verify=false",
      "--dest-creds",
      `${testUser.name}:${testUser.password}`,
      `oci:${file}:disk`,
      `docker://${registry.host}/disks/one:1`,
    );

    await service.create(
      "pulled",
      {
        type: "ContainerImage",
        containerImage: { image: `${registry.host}/disks/one:1`, imagePullSecret: { name: "pull" } },
      },
      "team-a",
    );
    const waiting = await service.until(
      "pulled",
      (image) => reasonOf(image, "DatasourceReady") === "ContainerRegistrySecretNotFound",
      "team-a",
    );
    expect(messageOf(waiting)).toContain("there is no Secret pull");
    await service.createSecret("pull", "team-a", {
      auths: { [registry.host]: { username: testUser.name, password: testUser.password } },
    });
    const ready = await service.untilPhase("pulled", "Ready", "team-a");
    expect((await pullDisk(service.reference(ready), directory)).digest).toBe(diskSum);
    expect(`${JSON.stringify(ready)}${service.log.join("")}`).not.toContain(testUser.password);
  });
});

describe("an image has to wait", () => {
  it("where its storage is a volume", async () => {
    await begin();
    await service.create("volume", http("http://127.0.0.1:1/x"), "team-a", { storage: "PersistentVolumeClaim" });
    const pending = await service.untilReason("volume", "StorageClassNotReady", "team-a");
    expect(pending.status?.phase).toBe("Pending");
  });

  it("while as many imports run as may", async () => {
    await begin({ settings: { DVCR_SERVE_MAX_IMPORTS: "1" } });
    await service.create("first", http(await serve(disk, () => ({ stallAfter: 1 << 20 }))));
    await service.untilPhase("first", "Provisioning");
    await service.create("second", http(await serve(qcow2)));
    const queued = await service.untilReason("second", "ProvisioningNotStarted");
    expect(queued.status?.phase).toBe("Pending");
    await service.remove("first");
    await service.untilPhase("second", "Ready");
  });

  it("while garbage is collected, and goes on afterwards", async () => {
    let isOpen = false;
    const listeners = new Set<() => void>();
    await begin({
      gate: { isOpen: () => isOpen, onOpen: (listener) => (listeners.add(listener), () => listeners.delete(listener)) },
    });
    await service.create("later", http(await serve(qcow2)));
    const postponed = await service.untilReason("later", "ProvisioningPostponed");
    expect(postponed.status?.phase).toBe("Pending");
    isOpen = true;
    for (const listener of listeners) listener();
    await service.untilPhase("later", "Ready");
  });

  it("while a real collection runs, which leaves the import that runs already alone", async () => {
    const listeners = new Set<() => void>();
    const collecting: { by?: GarbageCollector } = {};
    await begin({
      gate: {
        isOpen: () => collecting.by?.gate.isOpen() ?? true,
        onOpen: (listener) => (listeners.add(listener), () => listeners.delete(listener)),
      },
    });
    await service.create("stored", http(await serve(qcow2)));
    const stored = await service.untilPhase("stored", "Ready");
    const { signal } = new AbortController();
    await service.place.copy(
      { repository: "cvi/stored", tag: stored.metadata.uid },
      { repository: "cvi/orphan", tag: "of-nobody" },
      signal,
    );
    const resumed = latch();
    let requests = 0;
    await service.create("running", http(await serve(disk, () => (requests++ === 0 ? { trickle: true } : {}))));
    await service.until("running", ({ status }) => status?.phase === "Provisioning");

    // What is removed last holds the collection up until the other import has been put off.
    const removing = new Proxy(service.place, {
      get: (target, name) => {
        const value = Reflect.get(target, name) as unknown;
        if (name === "remove")
          return async (image: ImageName, signal: AbortSignal) => {
            await resumed.opened;
            await target.remove(image, signal);
          };
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
    const collector = (collecting.by = new GarbageCollector({
      store: service.store,
      place: removing,
      blobs: service.place.blobs,
      log: createLogger({ output: { write: () => undefined } }),
    }));
    for (const listener of listeners) collector.gate.onOpen(listener);
    const run = collector.run();
    await service.create("later", http(await serve(qcow2)));
    await service.untilReason("later", "ProvisioningPostponed");
    resumed.open();
    expect((await run).removed.map(({ image }) => image.repository)).toEqual(["cvi/orphan"]);
    for (const name of ["running", "later", "stored"]) {
      const ready = await service.untilPhase(name, "Ready");
      expect((await pullDisk(service.reference(ready), directory)).digest, name).toBe(diskSum);
    }
    expect((await service.stored()).map((name) => name.split(":")[0])).toEqual([
      "cvi/later",
      "cvi/running",
      "cvi/stored",
    ]);
  });

  it("where the namespace has as many images as it may", async () => {
    await begin({ settings: { DVCR_SERVE_NAMESPACE_IMAGES: "1" } });
    const url = await serve(qcow2);
    await service.create("one", http(url), "team-a");
    await service.untilPhase("one", "Ready", "team-a");
    await service.create("two", http(url), "team-a");
    const refused = await service.untilReason("two", "QuotaExceeded", "team-a");
    expect(messageOf(refused)).toContain("E_QUOTA");
    await toldOf("two", "DataSourceQuotaExceed");
    await service.create("two", http(url), "team-b");
    await service.untilPhase("two", "Ready", "team-b");
  });

  it("where the store is nearly full", async () => {
    await begin({ settings: { DVCR_SERVE_CAPACITY: "10Mi", DVCR_SERVE_NEARLY_FULL: "1" } });
    const url = await serve(qcow2);
    await service.create("one", http(url));
    await service.untilPhase("one", "Ready");
    await service.create("two", http(url));
    const refused = await service.untilReason("two", "ProvisioningNotStarted");
    expect(messageOf(refused)).toMatch(/^E_PLACE_FULL: .* of 10Mi are used/);
  });
});

describe("a stored image", () => {
  it("that is not in the store any more is lost, and found again when it is back", async () => {
    await begin({ presenceCheckMs: 50 });
    await service.create("image", http(await serve(qcow2)));
    const ready = await service.untilPhase("image", "Ready");
    const name = { repository: "cvi/image", tag: ready.metadata.uid };
    const kept = { repository: "cvi/kept", tag: "1" };
    const { signal } = new AbortController();
    await service.place.copy(name, kept, signal);
    await service.place.remove(name, signal);
    const lost = await service.untilPhase("image", "ImageLost");
    expect(reasonOf(lost)).toBe("ImageLost");
    await service.place.copy(kept, name, signal);
    const found = await service.untilPhase("image", "Ready");
    expect(found.status?.size).toEqual(ready.status?.size);
  });
});

describe("an image of type Upload", () => {
  it("shows its URLs, keeps its token through a restart, and fails when nobody comes", async () => {
    await begin({ uploadTimeoutMs: 1500 });
    await service.create("upload", { type: "Upload" });
    const waiting = await service.untilPhase("upload", "WaitForUserUpload");
    const { external = "", inCluster = "" } = waiting.status?.imageUploadURLs ?? {};
    expect(external).toMatch(/^https:\/\/public\.test\/upload\/[A-Za-z0-9]{32}$/);
    expect(inCluster.split("/").at(-1)).toBe(external.split("/").at(-1));
    const token = external.split("/").at(-1)!;
    expect(service.tokens.find(token)).toBeDefined();
    await service.restart();
    expect((await service.untilPhase("upload", "WaitForUserUpload")).status?.imageUploadURLs?.external).toBe(external);
    const failed = await service.until("upload", ({ status }) => status?.phase === "Failed");
    expect(reasonOf(failed)).toBe("WaitForUserUploadTimeout");
    expect(failed.status?.imageUploadURLs).toBeUndefined();
    expect(service.tokens.find(token)).toBeUndefined();
  });
});
