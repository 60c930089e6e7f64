/** The reconciler with real imports from a local server into the embedded place. */
import { createHash } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";

import { defaultRetryPolicy } from "../src/retry/retry.ts";
import { RegistryPlace } from "../src/service/images/registry-place.ts";
import type { ImageObject, ImageStatus } from "../src/service/model/image.ts";
import { formatSpeed } from "../src/service/model/quantities.ts";
import { FaultProxy } from "./support/fault-proxy.ts";
import { pullDisk } from "./support/pulled.ts";
import { http, reconcileSuite } from "./support/reconcile-suite.ts";
import { startRegistry } from "./support/registry.ts";
import { messageOf, reasonOf, type Reconciled } from "./support/service-reconcile.ts";

const suite = reconcileSuite();
let service: Reconciled;
afterEach(() => service[Symbol.asyncDispose]());

const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");
const percentOf = ({ progress }: ImageStatus): number => Number(progress?.replace("%", "") ?? 0);

/** What the status of an image tells of the only import that has ended. */
function speedOf([report, ...more]: Reconciled["reports"]): ImageStatus["downloadSpeed"] {
  expect(more).toEqual([]);
  expect(report?.averageSpeed).toBeGreaterThan(0);
  return { avg: formatSpeed(report!.averageSpeed), avgBytes: String(report!.averageSpeed) };
}

describe("an image of type HTTP", () => {
  it("goes from Provisioning to Ready, and its status tells all of it", async () => {
    const { store } = (service = await suite.begin());
    const seen: ImageStatus[] = [];
    store.watch("clustervirtualimages", {}, ({ object }) => seen.push((object as ImageObject).status ?? {}));
    const created = await service.create(
      "ubuntu",
      http(await suite.serve(suite.qcow2, () => ({ trickle: true })), { checksum: { md5: md5(suite.qcow2) } }),
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
    expect(status?.size).toMatchObject({ unpacked: "16Mi", unpackedBytes: String(suite.disk.length) });
    expect(Number(status?.size?.storedBytes)).toBeGreaterThan(0);
    expect(status?.downloadSpeed).toEqual(speedOf(service.reports));
    expect(status?.target?.registryURL).toBe(`images.test/cvi/ubuntu:${created.metadata.uid}`);
    expect(status?.imageUploadURLs).toBeUndefined();
    expect(status?.conditions?.map(({ type, status: is, reason }) => [type, is, reason])).toEqual([
      ["DatasourceReady", "True", "DatasourceReady"],
      ["Ready", "True", "Ready"],
    ]);
    await service.toldOf("ubuntu", "DataSourceImportStarted", "DataSourceImportCompleted");
    expect((await pullDisk(service.reference(ready), suite.directory)).digest).toBe(suite.diskSum);
  });

  it("tells the average speed of an import that is over before it was ever measured", async () => {
    service = await suite.begin();
    await service.create("quick", http(await suite.serve(suite.disk.subarray(0, 1 << 16))));
    const ready = await service.untilPhase("quick", "Ready");
    expect(ready.status?.downloadSpeed).toEqual(speedOf(service.reports));
  });

  it("fails with the reason of a wrong checksum, and a corrected spec starts it again", async () => {
    service = await suite.begin();
    const url = await suite.serve(suite.qcow2);
    await service.create("wrong", http(url, { checksum: { md5: "0".repeat(32) } }), "team-a");
    const failed = await service.until("wrong", ({ status }) => status?.phase === "Failed", "team-a");
    expect(reasonOf(failed)).toBe("ProvisioningFailed");
    expect(messageOf(failed)?.toLowerCase()).toContain("md5 sum mismatch");
    expect(await service.stored()).toEqual([]);
    await service.toldOf("wrong", "DataSourceImportStarted", "DataSourceImportFailed");

    await service.change("wrong", http(url, { checksum: { md5: md5(suite.qcow2) } }), "team-a");
    const ready = await service.until("wrong", ({ status }) => status?.phase === "Ready", "team-a");
    expect(ready.status).toMatchObject({ observedGeneration: 2, progress: "100%" });
    expect(await service.stored()).toEqual([`vi/team-a/wrong:${ready.metadata.uid}`]);
  });

  it("whose spec changes while it runs is imported anew, by the new spec", async () => {
    service = await suite.begin();
    const stalled = await suite.serve(suite.disk, () => ({ stallAfter: 1 << 20 }));
    await service.create("changed", http(stalled));
    await service.until("changed", ({ status }) => status?.progress !== undefined);
    await service.change("changed", http(await suite.serve(suite.qcow2)));
    const ready = await service.untilPhase("changed", "Ready");
    expect(ready.status?.observedGeneration).toBe(2);
    await service.toldOf("changed", "DataSourceImportStarted", "DataSourceImportStarted", "DataSourceImportCompleted");
    expect((await pullDisk(service.reference(ready), suite.directory)).digest).toBe(suite.diskSum);
  });

  it("that is deleted while it runs leaves nothing", async () => {
    service = await suite.begin();
    await service.create("doomed", http(await suite.serve(suite.disk, () => ({ stallAfter: 1 << 20 }))));
    await service.until("doomed", ({ status }) => status?.progress !== undefined);
    await expect.poll(() => service.unfinished()).toHaveLength(1);
    await service.remove("doomed");
    await service.untilGone("doomed");
    expect(await service.stored()).toEqual([]);
    await expect.poll(() => service.unfinished()).toEqual([]);
    expect(service.place.blobs.digests.size).toBe(0);
  });

  it("tells what its source failed with while that is tried again, until bytes flow again", async () => {
    service = await suite.begin();
    let away = true;
    const url = await suite.serve(suite.disk, (_, index) =>
      index === 0 ? { cutAfter: 1 << 20 } : away ? { status: 503 } : { stallAfter: 1 << 20 },
    );
    await service.create(
      "away",
      http(url.replace("http://", "http://user:password-of-nobody@").concat("?token=tell-nobody")),
    );
    const told = await service.until("away", (image) => messageOf(image)?.includes("answers 503") === true);
    expect(messageOf(told)).toMatch(/^the image is being imported; trying again after E_SOURCE_IO: /);
    expect(messageOf(told)).toMatch(/E_SOURCE_IO: http:\/\/127\.0\.0\.1:\d+\/disk\.img.* answers 503\. /);
    expect(told.status?.phase).toBe("Provisioning");
    expect(JSON.stringify(told.status)).not.toMatch(/nobody/);
    away = false;
    const flowing = await service.until("away", (image) => messageOf(image) === "the image is being imported");
    const sinceOf = (image: ImageObject) =>
      image.status?.conditions?.map(({ lastTransitionTime }) => lastTransitionTime);
    expect(sinceOf(flowing)).toEqual(sinceOf(told));
    await service.toldOf("away", "DataSourceImportStarted");
  });

  it("tells what its registry failed with while that is tried again, until bytes flow again", async () => {
    let away = true;
    await using registry = await startRegistry();
    await using proxy = await FaultProxy.start(registry.host, ({ method }) =>
      method === "PUT" ? "hold" : away && method === "PATCH" ? "drop" : "pass",
    );
    const access = { tls: { verify: false }, credentials: {}, retry: { ...defaultRetryPolicy, maxDelayMs: 1000 } };
    service = await suite.begin({
      placed: () => new RegistryPlace({ host: proxy.host, access, upload: { abortGraceMs: 1 } }),
    });
    await service.create("away", http(await suite.serve(suite.qcow2)));
    const told = await service.until("away", (image) => messageOf(image)?.includes("E_REGISTRY_UNAVAILABLE") === true);
    expect(messageOf(told)).toContain("the image is being imported; trying again after E_REGISTRY_UNAVAILABLE: ");
    away = false;
    const flowing = await service.until("away", (image) => messageOf(image) === "the image is being imported");
    expect(flowing.status?.phase).toBe("Provisioning");
  });

  it("tells what a whole attempt failed with while there is another one", async () => {
    service = await suite.begin();
    const replaced = { headers: { etag: '"two"' }, stallAfter: 0 };
    await service.create(
      "replaced",
      http(await suite.serve(suite.disk, (_, index) => (index === 0 ? { cutAfter: 1 << 20 } : replaced))),
    );
    const told = await service.until("replaced", (image) => messageOf(image)?.includes("E_SOURCE_CHANGED") === true);
    expect(messageOf(told)).toContain("the image is being imported; trying again after E_SOURCE_CHANGED: ");
    expect(told.status?.phase).toBe("Provisioning");
  });

  it("goes on by itself after a restart in the middle", async () => {
    service = await suite.begin();
    let requests = 0;
    await service.create(
      "again",
      http(await suite.serve(suite.qcow2, () => (requests++ === 0 ? { stallAfter: 1 << 19 } : {}))),
    );
    // The first request is under way.
    await service.until("again", ({ status }) => status?.progress !== undefined);
    await service.restart();
    const ready = await service.untilPhase("again", "Ready");
    expect((await pullDisk(service.reference(ready), suite.directory)).digest).toBe(suite.diskSum);
  });

  it("with a CA bundle that holds no certificate waits for a better one", async () => {
    service = await suite.begin();
    const url = await suite.serve(suite.qcow2);
    await service.create("trust", http(url, { caBundle: "YWFhCg==" }));
    const pending = await service.until("trust", (image) => reasonOf(image, "DatasourceReady") === "CABundleNotValid");
    expect(pending.status?.phase).toBe("Pending");
    expect(messageOf(pending, "DatasourceReady")).toContain("no PEM certificate");
    await service.change("trust", http(url));
    await service.untilPhase("trust", "Ready");
  });
});
