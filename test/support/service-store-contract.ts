/** What every ResourceStore must do, whatever it is made of. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import type { ImageObject } from "../../src/service/model/image.ts";
import type { Draft, KubeObject, ObjectKey } from "../../src/service/model/object.ts";
import type { Change, ResourceStore } from "../../src/service/store/store.ts";

export interface StoreUnderTest {
  readonly store: ResourceStore;
  /** Closes the store and opens it again, as after a restart. */
  restart(): Promise<ResourceStore>;
  cleanUp(): Promise<void>;
}

export function imageDraft(
  name: string,
  extra: { namespace?: string; url?: string; finalizers?: string[]; labels?: Record<string, string> } = {},
): Draft<ImageObject> {
  const { namespace, url = "https://example.org/disk.qcow2", ...metadata } = extra;
  return {
    apiVersion: "virtualization.deckhouse.io/v1alpha2",
    kind: namespace === undefined ? "ClusterVirtualImage" : "VirtualImage",
    metadata: { name, ...(namespace === undefined ? {} : { namespace }), ...metadata },
    spec: { dataSource: { type: "HTTP", http: { url } } },
  };
}

export const imageKey = (name: string, namespace = ""): ObjectKey => ({
  resource: namespace === "" ? "clustervirtualimages" : "virtualimages",
  namespace,
  name,
});

const cvi = "clustervirtualimages";

export function storeContract(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`${name} as a ResourceStore`, () => {
    let under: StoreUnderTest;
    let store: ResourceStore;

    beforeEach(async () => {
      under = await open();
      store = under.store;
    });
    afterEach(() => under.cleanUp());

    const create = (name: string, extra?: Parameters<typeof imageDraft>[1]) =>
      store.create<ImageObject>(extra?.namespace === undefined ? cvi : "virtualimages", imageDraft(name, extra));
    const changesOf = (names: readonly Change[]) =>
      names.map(({ type, object }) => `${type} ${object.metadata.name}@${object.metadata.resourceVersion}`);

    it("creates an object once, with what the server fills in", async () => {
      const made = await create("a", { labels: { team: "x" } });
      expect(made.metadata).toMatchObject({ name: "a", generation: 1, labels: { team: "x" } });
      expect(made.metadata.uid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/);
      expect(made.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      expect(made.metadata.resourceVersion).toBe(store.version());
      expect(await store.get(imageKey("a"))).toEqual(made);
      await expect(create("a")).rejects.toMatchObject({ code: "E_OBJECT_EXISTS" });
      expect(await store.get(imageKey("b"))).toBeUndefined();
    });

    it("keeps the same name apart in two namespaces", async () => {
      const [one, two] = await Promise.all([create("a", { namespace: "one" }), create("a", { namespace: "two" })]);
      expect((await store.get(imageKey("a", "one")))?.metadata.uid).toBe(one.metadata.uid);
      expect((await store.get(imageKey("a", "two")))?.metadata.uid).toBe(two.metadata.uid);
      expect((await store.list("virtualimages", { namespace: "two" })).items).toEqual([two]);
      expect((await store.list("virtualimages")).items).toEqual([one, two]);
    });

    it("lets generation grow with the spec only, and keeps what only the server sets", async () => {
      const made = await create("a");
      const withStatus = await store.update<ImageObject>(cvi, { ...made, status: { phase: "Pending" } });
      expect(withStatus.metadata.generation).toBe(1);
      const moved = await store.update<ImageObject>(cvi, {
        ...withStatus,
        metadata: {
          ...withStatus.metadata,
          uid: made.metadata.uid,
          creationTimestamp: "1999-01-01T00:00:00Z",
          generation: 77,
        },
        spec: { dataSource: { type: "Upload" } },
      });
      expect(moved.metadata).toMatchObject({
        generation: 2,
        uid: made.metadata.uid,
        creationTimestamp: made.metadata.creationTimestamp,
      });
      expect(Number(moved.metadata.resourceVersion)).toBeGreaterThan(Number(withStatus.metadata.resourceVersion));
    });

    it("writes nothing where nothing changed", async () => {
      const made = await create("a");
      const before = store.version();
      expect(await store.update<ImageObject>(cvi, { ...made, status: undefined } as unknown as ImageObject)).toEqual(
        made,
      );
      expect(store.version()).toBe(before);
    });

    it("lets one of two writers of the same version win", async () => {
      const made = await create("a");
      const writes = await Promise.allSettled(
        ["Pending", "Provisioning", "Ready"].map((phase) =>
          store.update(cvi, { ...made, status: { phase } } as KubeObject),
        ),
      );
      expect(writes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected", "rejected"]);
      for (const write of writes)
        if (write.status === "rejected") expect(write.reason).toMatchObject({ code: "E_OBJECT_CONFLICT" });
    });

    it("refuses to write what is gone, was replaced, or never was", async () => {
      const made = await create("a");
      await store.remove(imageKey("a"));
      await expect(store.update(cvi, made)).rejects.toMatchObject({ code: "E_OBJECT_NOT_FOUND" });
      await expect(store.remove(imageKey("a"))).rejects.toMatchObject({ code: "E_OBJECT_NOT_FOUND" });
      const again = await create("a");
      await expect(store.update(cvi, made)).rejects.toMatchObject({ code: "E_OBJECT_CONFLICT" });
      await expect(store.remove(imageKey("a"), { uid: made.metadata.uid })).rejects.toMatchObject({
        code: "E_OBJECT_CONFLICT",
      });
      await expect(
        store.remove(imageKey("a"), { resourceVersion: made.metadata.resourceVersion }),
      ).rejects.toMatchObject({ code: "E_OBJECT_CONFLICT" });
      expect((await store.remove(imageKey("a"), again.metadata)).metadata.uid).toBe(again.metadata.uid);
    });

    it("holds an object that has finalizers until the last is gone", async () => {
      const made = await create("a", { finalizers: ["one", "two"] });
      const marked = await store.remove<ImageObject>(imageKey("a"));
      expect(marked.metadata.deletionTimestamp).toMatch(/Z$/);
      expect(await store.remove<ImageObject>(imageKey("a"))).toEqual(marked);
      const unmarked = await store.update<ImageObject>(cvi, {
        ...marked,
        metadata: { ...made.metadata, resourceVersion: marked.metadata.resourceVersion, finalizers: ["two"] },
      });
      expect(unmarked.metadata.deletionTimestamp).toBe(marked.metadata.deletionTimestamp);
      const gone = await store.update<ImageObject>(cvi, {
        ...unmarked,
        metadata: { ...unmarked.metadata, finalizers: [] },
      });
      expect(gone.metadata.resourceVersion).toBe(store.version());
      expect(await store.get(imageKey("a"))).toBeUndefined();
    });

    it("gives pages in order, all as of the first one, whatever is written in between", async () => {
      for (const namespace of ["a", "b"]) for (const name of ["1", "2", "3", "10"]) await create(name, { namespace });
      const expected = (await store.list("virtualimages")).items;
      expect(expected.map(({ metadata }) => `${metadata.namespace!}/${metadata.name}`)).toEqual([
        "a/1",
        "a/10",
        "a/2",
        "a/3",
        "b/1",
        "b/10",
        "b/2",
        "b/3",
      ]);
      const seen: KubeObject[] = [];
      const remaining: (number | undefined)[] = [];
      let token: string | undefined;
      const versions = new Set<string>();
      for (let page = 0; ; page++) {
        const list = await store.list("virtualimages", {
          limit: 3,
          ...(token === undefined ? {} : { continue: token }),
        });
        seen.push(...list.items);
        versions.add(list.resourceVersion);
        remaining.push(list.remaining);
        token = list.continue;
        if (token === undefined) break;
        if (page === 0) {
          await store.remove(imageKey("3", "a"));
          await create("0", { namespace: "b" });
          const changed = (await store.get<ImageObject>(imageKey("2", "b")))!;
          await store.update("virtualimages", { ...changed, status: { phase: "Ready" } });
        }
      }
      expect(seen).toEqual(expected);
      expect(remaining).toEqual([5, 2, undefined]);
      expect(versions.size).toBe(1);
      await expect(store.list("virtualimages", { continue: "bm90IG91cnM" })).rejects.toMatchObject({
        code: "E_BAD_REQUEST",
      });
    });

    it("tells watchers every change once, in order, with concurrent writers", async () => {
      const live: Change[] = [];
      store.watch(cvi, {}, (change) => live.push(change));
      const writers = Array.from({ length: 8 }, async (_, writer) => {
        for (let turn = 0; turn < 10; turn++) {
          const made = await create(`w${writer}-${turn}`);
          await store.update<ImageObject>(cvi, { ...made, status: { phase: "Ready" } });
          if (turn % 2 === 0) await store.remove(imageKey(made.metadata.name));
        }
      });
      await Promise.all(writers);
      const versions = live.map(({ object }) => Number(object.metadata.resourceVersion));
      expect(versions).toEqual([...versions].sort((a, b) => a - b));
      expect(new Set(versions).size).toBe(8 * 25);
      expect(live.filter(({ type }) => type === "DELETED")).toHaveLength(8 * 5);
      const replayed = await collect(store, cvi, { since: "0" }, live.length);
      expect(changesOf(replayed)).toEqual(changesOf(live));
      expect(replayed).toEqual(live);
    });

    it("joins past and present without a gap where writes go on meanwhile", async () => {
      for (let index = 0; index < 250; index++) await create(`old${index}`);
      const since = "10";
      const seen: string[] = [];
      const last = new Promise<void>((resolve) => {
        store.watch(cvi, { since }, ({ object }) => {
          seen.push(object.metadata.resourceVersion);
          if (object.metadata.name === "new49") resolve();
        });
      });
      for (let index = 0; index < 50; index++) await create(`new${index}`);
      await last;
      expect(seen.map(Number)).toEqual(Array.from({ length: 290 }, (_, index) => index + 11));
    });

    it("tells a watcher of one namespace and one resource only what is its own, and what it was before", async () => {
      const seen: Change[] = [];
      const stop = store.watch("virtualimages", { namespace: "one" }, (change) => seen.push(change));
      const made = await create("a", { namespace: "one" });
      await create("a", { namespace: "two" });
      await create("a");
      const ready = await store.update<ImageObject>("virtualimages", { ...made, status: { phase: "Ready" } });
      const gone = await store.remove<ImageObject>(imageKey("a", "one"));
      expect(seen).toEqual([
        { type: "ADDED", object: made },
        { type: "MODIFIED", object: ready, previous: made },
        {
          type: "DELETED",
          object: { ...ready, metadata: { ...ready.metadata, resourceVersion: gone.metadata.resourceVersion } },
          previous: ready,
        },
      ]);
      stop();
      await create("b", { namespace: "one" });
      expect(seen).toHaveLength(3);
    });

    it("remembers objects, versions and changes over a restart", async () => {
      const made = await create("a");
      const updated = await store.update<ImageObject>(cvi, { ...made, status: { phase: "Ready" } });
      await create("b");
      await store.remove(imageKey("b"));
      const version = store.version();
      store = await under.restart();
      expect(store.version()).toBe(version);
      expect(await store.get(imageKey("a"))).toEqual(updated);
      const replayed = await collect(store, cvi, { since: made.metadata.resourceVersion }, 3);
      expect(replayed.map(({ type, object }) => `${type} ${object.metadata.name}`)).toEqual([
        "MODIFIED a",
        "ADDED b",
        "DELETED b",
      ]);
      expect(Number((await create("c")).metadata.resourceVersion)).toBe(Number(version) + 1);
    });

    it("refuses a version that it never gave, and one that is none", async () => {
      await create("a");
      expect(() => store.watch(cvi, { since: "1000" }, () => {})).toThrow(
        expect.objectContaining({ code: "E_VERSION_EXPIRED" }),
      );
      expect(() => store.watch(cvi, { since: "x" }, () => {})).toThrow(
        expect.objectContaining({ code: "E_BAD_REQUEST" }),
      );
    });
  });
}

/** The first `count` changes that a watcher is told. */
export function collect(
  store: ResourceStore,
  resource: Parameters<ResourceStore["watch"]>[0],
  options: Parameters<ResourceStore["watch"]>[1],
  count: number,
): Promise<Change[]> {
  return new Promise((resolve) => {
    const seen: Change[] = [];
    const stop = store.watch(resource, options, (change) => {
      seen.push(change);
      if (seen.length < count) return;
      stop();
      resolve(seen);
    });
  });
}
