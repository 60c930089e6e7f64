/** What a namespace may hold, where several images of it come at once. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import type { ImageObject } from "../src/service/model/image.ts";
import { makeRawDisk } from "./support/disks.ts";
import { Origin } from "./support/origin.ts";
import { eventually } from "./support/pod.ts";
import { messageOf, reasonOf, Reconciled } from "./support/service-reconcile.ts";
import { ServeProcess } from "./support/service-serve.ts";

let directory: string;
let origin: Origin;
let url: string;
/** Bytes that the image takes once it is stored. */
let taken: number;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-service-quota-"));
  origin = await Origin.start(await readFile(await makeRawDisk(join(directory, "disk.raw"), 16)), () => ({
    trickle: true,
  }));
  url = `${origin.url}/disk.img`;
  await using measured = await Reconciled.start();
  await measured.create("one", http());
  taken = Number((await measured.untilPhase("one", "Ready")).status?.size?.storedBytes);
});
afterAll(async () => {
  await origin[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

let service: Reconciled | undefined;
afterEach(async () => {
  await service?.[Symbol.asyncDispose]();
  service = undefined;
});

const http = () => ({ type: "HTTP" as const, http: { url } });
const begin = async (settings: Record<string, string>): Promise<Reconciled> =>
  (service = await Reconciled.start({ settings }));
const bytesFor = (images: number): Record<string, string> => ({
  DVCR_SERVE_NAMESPACE_BYTES: String(Math.floor(taken * images)),
});

describe("a namespace's bytes", () => {
  it(
    "hold for images that were created together: the one that would go beyond them is refused, " +
      "and nothing of it is kept",
    async () => {
      const { create, until, store } = bound(await begin(bytesFor(1.5)));
      for (const name of ["one", "two"]) await create(name);
      const ended = [await until("one"), await until("two")];
      expect(ended.map(({ status }) => status?.phase).sort()).toEqual(["Failed", "Ready"]);
      const refused = ended.find(({ status }) => status?.phase === "Failed")!;
      const stored = ended.find(({ status }) => status?.phase === "Ready")!;
      expect(reasonOf(refused)).toBe("QuotaExceeded");
      expect(messageOf(refused)).toMatch(/^E_QUOTA_EXCEEDED: the image takes .*; namespace team-a may hold/);
      await eventually(async () => (await service!.events(refused.metadata.name)).includes("DataSourceQuotaExceed"));
      expect(await service!.stored()).toEqual([`vi/team-a/${stored.metadata.name}:${stored.metadata.uid}`]);
      expect(
        await store.get({ resource: "virtualimages", namespace: "team-a", name: refused.metadata.name }),
      ).toMatchObject({ status: { phase: "Failed" } });
    },
  );

  it("do not count what was refused, nor what is deleted", async () => {
    const { create, until } = bound(await begin(bytesFor(1.5)));
    await create("one");
    await create("two");
    const ended = [await until("one"), await until("two")];
    const stored = ended.find(({ status }) => status?.phase === "Ready")!.metadata.name;
    await service!.remove(stored, "team-a");
    await service!.untilGone(stored, "team-a");
    await create("three");
    expect((await until("three")).status?.phase).toBe("Ready");
  });

  it("hold for a copy too, whose size is known before it is made", async () => {
    const { create, until } = bound(await begin(bytesFor(1.5)));
    await create("one");
    await until("one");
    await service!.create("copy", { type: "ObjectRef", objectRef: { kind: "VirtualImage", name: "one" } }, "team-a");
    const copy = await until("copy");
    expect([copy.status?.phase, reasonOf(copy)]).toEqual(["Failed", "QuotaExceeded"]);
    expect(await service!.stored()).toHaveLength(1);
  });

  it("leave nothing of the refused image's blobs", async () => {
    await begin(bytesFor(0.5));
    await service!.create("large", http(), "team-a");
    const refused = await service!.until("large", ({ status }) => status?.phase === "Failed", "team-a");
    expect(reasonOf(refused)).toBe("QuotaExceeded");
    await eventually(() => service!.place.blobs.digests.size === 0);
    await expect.poll(() => service!.unfinished()).toEqual([]);
    await expect.poll(() => origin.active).toBe(0);
  });
});

describe("a status that somebody has written", () => {
  it.each([
    ["phase", { phase: "Failed" as const }],
    ["size", { size: { storedBytes: "0", stored: "0B" } }],
  ])("(%s) evades no quota, and is put right", async (_what, forged) => {
    const { create, until, store } = bound(await begin(bytesFor(1.5)));
    await create("one");
    const stored = await until("one");
    await store.update<ImageObject>("virtualimages", { ...stored, status: { ...stored.status, ...forged } });
    await create("two");
    const second = await until("two");
    expect([second.status?.phase, reasonOf(second)]).toEqual(["Failed", "QuotaExceeded"]);
    const isAsBefore = ({ status }: ImageObject) =>
      status?.phase === "Ready" && status.size?.storedBytes === stored.status?.size?.storedBytes;
    await service!.until("one", isAsBefore, "team-a");
  });
});

describe("a namespace's number of images", () => {
  it("holds for images that were created together", async () => {
    await begin({ DVCR_SERVE_NAMESPACE_IMAGES: "1", DVCR_SERVE_MAX_IMPORTS: "8" });
    const names = ["one", "two", "three", "four"];
    await Promise.all(names.map((name) => service!.create(name, http(), "team-a")));
    const seen = await Promise.all(
      names.map((name) =>
        service!.until(
          name,
          (image) => image.status?.phase === "Ready" || reasonOf(image) === "QuotaExceeded",
          "team-a",
        ),
      ),
    );
    expect(seen.map(({ status }) => status?.phase).sort()).toEqual(["Pending", "Pending", "Pending", "Ready"]);
  });
});

describe("an upload that does not fit", () => {
  it("is answered 403 with the reason, and its image says so", async () => {
    const config = join(directory, "serve.yaml");
    await writeFile(config, `namespaceBytes: ${Math.floor(taken / 2)}\n`);
    await using served = await ServeProcess.start("--config", config);
    const images = "/apis/virtualization.deckhouse.io/v1alpha2/namespaces/team-a/virtualimages";
    const image = {
      apiVersion: "virtualization.deckhouse.io/v1alpha2",
      kind: "VirtualImage",
      metadata: { name: "large" },
      spec: { dataSource: { type: "Upload" } },
    };
    await served.json(images, "POST", image);
    const now = () => served.json<ImageObject>(`${images}/large`);
    const upload = await eventually(async () => (await now()).status?.imageUploadURLs?.inCluster);
    const answer = await fetch(upload, { method: "PUT", body: await readFile(join(directory, "disk.raw")) });
    expect([answer.status, await answer.text()]).toEqual([403, expect.stringContaining("E_QUOTA_EXCEEDED")]);
    const refused = await eventually(async () => {
      const found = await now();
      return found.status?.phase === "Failed" ? found : undefined;
    });
    expect(reasonOf(refused)).toBe("QuotaExceeded");
    expect((await fetch(upload)).status).toBe(404);
  });
});

function bound(reconciled: Reconciled) {
  return {
    store: reconciled.store,
    create: (name: string) => reconciled.create(name, http(), "team-a"),
    until: (name: string) =>
      reconciled.until(name, ({ status }) => status?.phase === "Ready" || status?.phase === "Failed", "team-a"),
  };
}
