/** Images whose source is another image, a container image or an upload. */
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";

import { pullDisk } from "./support/pulled.ts";
import { http, reconcileSuite } from "./support/reconcile-suite.ts";
import { startRegistry, testUser } from "./support/registry.ts";
import { messageOf, reasonOf, type Reconciled } from "./support/service-reconcile.ts";
import { tool } from "./support/tools.ts";
import { latch } from "./support/uploader.ts";

const suite = reconcileSuite();
let service: Reconciled;
afterEach(() => service[Symbol.asyncDispose]());

describe("an image of type ObjectRef", () => {
  it("waits for its source, then is a copy with its sizes and format", async () => {
    service = await suite.begin();
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
    await service.create("source", http(await suite.serve(suite.qcow2)));
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
    expect((await pullDisk(service.reference(copy), suite.directory)).digest).toBe(suite.diskSum);
  });

  it("of another namespace's image is told so by ImageNotReady", async () => {
    service = await suite.begin();
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
    service = await suite.begin({
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
    await service.create("source", http(await suite.serve(suite.qcow2)));
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
      service = await suite.begin();
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
    service = await suite.begin({ settings: { DVCR_SERVE_SOURCE_INSECURE_TLS: "true" } });
    const file = join(suite.directory, "layout");
    await tool("umoci", "init", "--layout", file);
    await tool("umoci", "new", "--image", `${file}:disk`);
    await tool(
      "umoci",
      "insert",
      "--rootless",
      "--image",
      `${file}:disk`,
      join(suite.directory, "disk.qcow2"),
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
    expect((await pullDisk(service.reference(ready), suite.directory)).digest).toBe(suite.diskSum);
    const shown = `${JSON.stringify(ready)}${service.log.join("")}`;
    for (const form of [testUser.password, Buffer.from(`${testUser.name}:${testUser.password}`).toString("base64")])
      expect(shown).not.toContain(form);
  });
});

describe("an image of type Upload", () => {
  it("shows its URLs, keeps its token through a restart, and fails when nobody comes", async () => {
    service = await suite.begin({ uploadTimeoutMs: 1500 });
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
