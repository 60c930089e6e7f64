/** What keeps an image from being imported, and what becomes of it afterwards. */
import { afterEach, describe, expect, it } from "vitest";

import { createLogger } from "../src/log/logger.ts";
import { GarbageCollector } from "../src/service/gc/collector.ts";
import type { ImageName } from "../src/service/model/names.ts";
import { pullDisk } from "./support/pulled.ts";
import { http, reconcileSuite } from "./support/reconcile-suite.ts";
import { messageOf, reasonOf, type Reconciled } from "./support/service-reconcile.ts";
import { latch } from "./support/uploader.ts";

const suite = reconcileSuite();
let service: Reconciled;
afterEach(() => service[Symbol.asyncDispose]());

describe("an image has to wait", () => {
  it("where its storage is a volume", async () => {
    service = await suite.begin();
    await service.create("volume", http("http://127.0.0.1:1/x"), "team-a", { storage: "PersistentVolumeClaim" });
    const pending = await service.untilReason("volume", "StorageClassNotReady", "team-a");
    expect(pending.status?.phase).toBe("Pending");
  });

  it("while as many imports run as may", async () => {
    service = await suite.begin({ settings: { DVCR_SERVE_MAX_IMPORTS: "1" } });
    await service.create("first", http(await suite.serve(suite.disk, () => ({ stallAfter: 1 << 20 }))));
    await service.untilPhase("first", "Provisioning");
    await service.create("second", http(await suite.serve(suite.qcow2)));
    const queued = await service.untilReason("second", "ProvisioningNotStarted");
    expect(queued.status?.phase).toBe("Pending");
    await service.remove("first");
    await service.untilPhase("second", "Ready");
  });

  it("while garbage is collected, and goes on afterwards", async () => {
    let isOpen = false;
    const listeners = new Set<() => void>();
    service = await suite.begin({
      gate: { isOpen: () => isOpen, onOpen: (listener) => (listeners.add(listener), () => listeners.delete(listener)) },
    });
    await service.create("later", http(await suite.serve(suite.qcow2)));
    const postponed = await service.untilReason("later", "ProvisioningPostponed");
    expect(postponed.status?.phase).toBe("Pending");
    isOpen = true;
    for (const listener of listeners) listener();
    await service.untilPhase("later", "Ready");
  });

  it("while a real collection runs, which leaves the import that runs already alone", async () => {
    const listeners = new Set<() => void>();
    const collecting: { by?: GarbageCollector } = {};
    service = await suite.begin({
      gate: {
        isOpen: () => collecting.by?.gate.isOpen() ?? true,
        onOpen: (listener) => (listeners.add(listener), () => listeners.delete(listener)),
      },
    });
    await service.create("stored", http(await suite.serve(suite.qcow2)));
    const stored = await service.untilPhase("stored", "Ready");
    const { signal } = new AbortController();
    await service.place.copy(
      { repository: "cvi/stored", tag: stored.metadata.uid },
      { repository: "cvi/orphan", tag: "of-nobody" },
      signal,
    );
    const resumed = latch();
    let requests = 0;
    await service.create(
      "running",
      http(await suite.serve(suite.disk, () => (requests++ === 0 ? { trickle: true } : {}))),
    );
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
    const run = collector.run({ force: true });
    await service.create("later", http(await suite.serve(suite.qcow2)));
    await service.untilReason("later", "ProvisioningPostponed");
    resumed.open();
    expect((await run).removed.map(({ image }) => image.repository)).toEqual(["cvi/orphan"]);
    for (const name of ["running", "later", "stored"]) {
      const ready = await service.untilPhase(name, "Ready");
      expect((await pullDisk(service.reference(ready), suite.directory)).digest, name).toBe(suite.diskSum);
    }
    expect((await service.stored()).map((name) => name.split(":")[0])).toEqual([
      "cvi/later",
      "cvi/running",
      "cvi/stored",
    ]);
  });

  it("where the namespace has as many images as it may", async () => {
    service = await suite.begin({ settings: { DVCR_SERVE_NAMESPACE_IMAGES: "1" } });
    const url = await suite.serve(suite.qcow2);
    await service.create("one", http(url), "team-a");
    await service.untilPhase("one", "Ready", "team-a");
    await service.create("two", http(url), "team-a");
    const refused = await service.untilReason("two", "QuotaExceeded", "team-a");
    expect(messageOf(refused)).toContain("E_QUOTA");
    await service.toldOf("two", "DataSourceQuotaExceed");
    await service.create("two", http(url), "team-b");
    await service.untilPhase("two", "Ready", "team-b");
  });

  it("where the store is nearly full", async () => {
    service = await suite.begin({ settings: { DVCR_SERVE_CAPACITY: "10Mi", DVCR_SERVE_NEARLY_FULL: "1" } });
    const url = await suite.serve(suite.qcow2);
    await service.create("one", http(url));
    await service.untilPhase("one", "Ready");
    await service.create("two", http(url));
    const refused = await service.untilReason("two", "ProvisioningNotStarted");
    expect(messageOf(refused)).toMatch(/^E_PLACE_FULL: .* of 10Mi are used/);
  });
});

describe("a stored image", () => {
  it("that is not in the store any more is lost, and found again when it is back", async () => {
    service = await suite.begin({ presenceCheckMs: 50 });
    await service.create("image", http(await suite.serve(suite.qcow2)));
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
