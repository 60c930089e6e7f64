/** Real kubectl against the API: the platform manual's commands, as far as they need no import to run. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { columnsOf, Kubectl, manifest, startApi, type Json, type TestApi } from "./support/service-api.ts";

let api: TestApi;
let kubectl: Kubectl;
let minor: number;
beforeAll(async () => {
  api = await startApi();
  kubectl = await Kubectl.for(api);
  const { clientVersion } = JSON.parse(await kubectl.ok(["version", "--client", "-o", "json"])) as {
    clientVersion: { minor: string };
  };
  minor = Number.parseInt(clientVersion.minor, 10);
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
});

const withSource = (dataSource: Json): string =>
  JSON.stringify({
    apiVersion: "virtualization.deckhouse.io/v1alpha2",
    kind: "ClusterVirtualImage",
    metadata: { name: "invalid" },
    spec: { dataSource },
  });

describe("kubectl", () => {
  it("applies, changes and leaves unchanged", async () => {
    expect(await kubectl.ok(["apply", "-f", "-"], manifest("applied"))).toBe(
      "clustervirtualimage.virtualization.deckhouse.io/applied created\n",
    );
    expect(await kubectl.ok(["apply", "-f", "-"], manifest("applied"))).toContain("applied unchanged");
    expect(
      await kubectl.ok(["apply", "-f", "-"], manifest("applied", { url: "https://example.com/other.img" })),
    ).toContain("applied configured");
    expect(
      await kubectl.ok(["get", "clustervirtualimage", "applied", "-o", "jsonpath={.spec.dataSource.http.url}"]),
    ).toBe("https://example.com/other.img");
    // Three-way: what is taken out of the manifest goes, what others added stays.
    await kubectl.ok(["label", "cvi", "applied", "from=others"]);
    const upload = manifest("applied").replace(/type: HTTP[\s\S]*/, "type: Upload\n");
    expect(await kubectl.ok(["apply", "-f", "-"], upload)).toContain("configured");
    const spec = JSON.parse(await kubectl.ok(["get", "cvi", "applied", "-o", "json"])) as {
      spec: Json;
      metadata: { labels: Json };
    };
    expect([spec.spec, spec.metadata.labels]).toEqual([{ dataSource: { type: "Upload" } }, { from: "others" }]);
  });

  it("shows the manual's columns, and the wide ones before the age", async () => {
    await kubectl.ok(["apply", "-f", "-"], manifest("ubuntu-22-04"));
    await api.setStatus("clustervirtualimages", "ubuntu-22-04", {
      phase: "Ready",
      cdrom: false,
      progress: "100%",
      size: { stored: "285.9Mi", unpacked: "2.2Gi" },
      target: { registryURL: "localhost/cvi/ubuntu-22-04:1" },
    });
    const [header, row] = (await kubectl.ok(["get", "cvi", "ubuntu-22-04"])).split("\n");
    expect(columnsOf(header!)).toEqual(["NAME", "PHASE", "CDROM", "PROGRESS", "AGE"]);
    expect(columnsOf(row!).slice(0, 4)).toEqual(["ubuntu-22-04", "Ready", "false", "100%"]);
    const [wideHeader, wideRow] = (
      await kubectl.ok(["get", "clustervirtualimages", "ubuntu-22-04", "-o", "wide"])
    ).split("\n");
    expect(columnsOf(wideHeader!)).toEqual([
      "NAME",
      "PHASE",
      "CDROM",
      "PROGRESS",
      "STOREDSIZE",
      "UNPACKEDSIZE",
      "REGISTRY URL",
      "AGE",
    ]);
    expect(columnsOf(wideRow!).slice(4, 7)).toEqual(["285.9Mi", "2.2Gi", "localhost/cvi/ubuntu-22-04:1"]);
  });

  it("watches phases and progress", async () => {
    await kubectl.ok(["apply", "-f", "-"], manifest("watched"));
    const watching = kubectl.start(["get", "cvi", "watched", "-w"]);
    const lines = (): string[][] =>
      watching
        .text()
        .split("\n")
        .filter((line) => line !== "")
        .map(columnsOf);
    await expect.poll(lines, { timeout: 30_000 }).toHaveLength(2);
    for (const progress of ["0.0%", "28.2%"]) {
      await api.setStatus("clustervirtualimages", "watched", { phase: "Provisioning", cdrom: false, progress });
      await expect
        .poll(() => lines().at(-1)?.slice(1, 4), { timeout: 30_000 })
        .toEqual(["Provisioning", "false", progress]);
    }
    await api.setStatus("clustervirtualimages", "watched", { phase: "Ready", cdrom: false, progress: "100%" });
    await expect.poll(() => lines().at(-1)?.slice(1, 4), { timeout: 30_000 }).toEqual(["Ready", "false", "100%"]);
    expect(lines()[0]).toEqual(["NAME", "PHASE", "CDROM", "PROGRESS", "AGE"]);
    watching.child.kill();
  });

  it("describes with conditions and events", async () => {
    await kubectl.ok(["apply", "-f", "-"], manifest("described"));
    const image = (await api.store.get({ resource: "clustervirtualimages", namespace: "", name: "described" }))!;
    await api.setStatus("clustervirtualimages", "described", {
      phase: "Failed",
      conditions: [
        {
          type: "Ready",
          status: "False",
          reason: "ProvisioningFailed",
          message: "It did not work.",
          lastTransitionTime: "2026-01-01T00:00:00Z",
        },
      ],
    });
    const event = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: "described.1", namespace: "default" },
      type: "Warning",
      reason: "DataSourceImportFailed",
      message: "The import failed.",
      involvedObject: {
        kind: "ClusterVirtualImage",
        name: "described",
        uid: image.metadata.uid,
        apiVersion: image.apiVersion,
      },
      count: 1,
      firstTimestamp: image.metadata.creationTimestamp,
      lastTimestamp: image.metadata.creationTimestamp,
      source: { component: "dvcr" },
    };
    await api.store.create("events", event);
    const text = await kubectl.ok(["describe", "cvi", "described"]);
    expect(text).toMatch(/Reason:\s+ProvisioningFailed/);
    expect(text).toMatch(/Warning\s+DataSourceImportFailed\s+\S+\s+dvcr\s+The import failed\./);
    expect(await kubectl.ok(["get", "events"])).toMatch(
      /Warning\s+DataSourceImportFailed\s+clustervirtualimage\/described\s+The import failed\./,
    );
  });

  it("explains the spec", async () => {
    const text = await kubectl.ok(["explain", "cvi.spec.dataSource"]);
    expect(text).toMatch(/KIND:\s+ClusterVirtualImage/);
    expect(text).toContain("Where the image comes from.");
    for (const field of ["containerImage", "http", "objectRef", "type", "upload"])
      expect(text).toMatch(new RegExp(`\\s${field}\\s`));
    expect(await kubectl.ok(["explain", "vi", "--recursive"])).toContain("storageClassName");
  });

  it("labels, annotates, selects, patches and edits", async () => {
    await kubectl.ok(["create", "-f", "-"], manifest("touched"));
    await kubectl.ok(["label", "cvi", "touched", "os=ubuntu"]);
    await kubectl.ok(["annotate", "cvi", "touched", "note=hi there"]);
    expect(await kubectl.ok(["get", "cvi", "-l", "os in (ubuntu)", "-o", "name"])).toBe(
      "clustervirtualimage.virtualization.deckhouse.io/touched\n",
    );
    expect(await kubectl.ok(["get", "cvi", "--field-selector", "metadata.name=touched", "-o", "name"])).toContain(
      "touched",
    );
    await kubectl.ok([
      "patch",
      "cvi",
      "touched",
      "--type",
      "merge",
      "-p",
      '{"spec":{"dataSource":{"http":{"url":"https://example.com/merged.img"}}}}',
    ]);
    await kubectl.ok([
      "patch",
      "cvi",
      "touched",
      "--type",
      "json",
      "-p",
      '[{"op":"replace","path":"/spec/dataSource/http/url","value":"https://example.com/patched.img"}]',
    ]);
    expect(await kubectl.fails(["patch", "cvi", "touched", "-p", "{}"])).toContain(
      "accepted media types include: application/json-patch+json",
    );
    const editor = join(api.directory, "editor.sh");
    await writeFile(editor, '#!/bin/sh\nsed -i s/patched.img/edited.img/ "$1"\n', { mode: 0o755 });
    expect(await kubectl.ok(["edit", "cvi", "touched"], "", { EDITOR: editor, KUBE_EDITOR: editor })).toContain(
      "touched edited",
    );
    expect(await kubectl.ok(["get", "cvi", "touched", "-o", "yaml"])).toContain("url: https://example.com/edited.img");
    await kubectl.ok(["label", "cvi", "touched", "os-"]);
    expect(await kubectl.ok(["get", "cvi", "touched", "-o", "jsonpath={.metadata.labels}"])).toBe("");
  });

  it("replaces and diffs", async () => {
    await kubectl.ok(["create", "-f", "-"], manifest("replaced"));
    expect(
      await kubectl.ok(
        ["replace", "-f", "-"],
        JSON.stringify({
          ...(JSON.parse(await kubectl.ok(["get", "cvi", "replaced", "-o", "json"])) as Json),
          spec: { dataSource: { type: "Upload" } },
        }),
      ),
    ).toContain("replaced replaced");
    const { code, stdout } = await kubectl.run(["diff", "-f", "-"], manifest("replaced"));
    expect(code).toBe(1);
    expect(stdout).toMatch(/^\+ +type: HTTP$/m);
  });

  it("applies on the server's side, tells conflicts and takes over by force", async () => {
    await kubectl.ok(["apply", "--server-side", "--field-manager=one", "-f", "-"], manifest("server-side"));
    const changed = manifest("server-side", { url: "https://example.com/changed.img" });
    const refused = await kubectl.fails(["apply", "--server-side", "--field-manager=two", "-f", "-"], changed);
    expect(refused).toContain('Apply failed with 1 conflict: conflict with "one": .spec.dataSource.http.url');
    expect(
      await kubectl.ok(["apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-"], changed),
    ).toContain("serverside-applied");
    expect(await kubectl.ok(["get", "cvi", "server-side", "-o", "jsonpath={.spec.dataSource.http.url}"])).toBe(
      "https://example.com/changed.img",
    );
  });

  it("goes from client-side to server-side apply and back", async () => {
    await kubectl.ok(["apply", "-f", "-"], manifest("migrated"));
    await kubectl.ok(["apply", "--server-side", "-f", "-"], manifest("migrated"));
    const changed = manifest("migrated", { url: "https://example.com/changed.img" });
    await kubectl.ok(["apply", "--server-side", "--force-conflicts", "-f", "-"], changed);
    await kubectl.ok(["apply", "-f", "-"], manifest("migrated"));
    expect(await kubectl.ok(["get", "cvi", "migrated", "-o", "jsonpath={.spec.dataSource.http.url}"])).toBe(
      "https://example.com/ubuntu.img",
    );
  });

  it.each<[string, Json, RegExp]>([
    ["type", { type: "Torrent" }, /spec\.dataSource\.type: Unsupported value: "Torrent"/],
    ["url", { type: "HTTP", http: { url: "ftp://x" } }, /spec\.dataSource\.http\.url/],
    [
      "missing url",
      { type: "HTTP", http: {} },
      /spec\.dataSource\.http\.url: Required value|missing required field "url"/,
    ],
    ["http for HTTP", { type: "HTTP" }, /type HTTP requires http/],
    ["md5", { type: "HTTP", http: { url: "https://e.com/x", checksum: { md5: "x" } } }, /checksum\.md5/],
    ["sha256", { type: "HTTP", http: { url: "https://e.com/x", checksum: { sha256: "x" } } }, /checksum\.sha256/],
    ["http.caBundle", { type: "HTTP", http: { url: "https://e.com/x", caBundle: "%%" } }, /http\.caBundle/],
    ["image", { type: "ContainerImage", containerImage: { image: "a b" } }, /containerImage\.image/],
    [
      "imagePullSecret",
      { type: "ContainerImage", containerImage: { image: "e.com/a:1", imagePullSecret: "s" } },
      /imagePullSecret/,
    ],
    ["objectRef.kind", { type: "ObjectRef", objectRef: { kind: "Pod", name: "x" } }, /objectRef\.kind/],
    [
      "objectRef.name",
      { type: "ObjectRef", objectRef: { kind: "ClusterVirtualImage" } },
      /objectRef\.name|missing required field "name"/,
    ],
    [
      "objectRef.namespace",
      { type: "ObjectRef", objectRef: { kind: "VirtualImage", name: "x" } },
      /namespace is required/,
    ],
    ["upload.checksum", { type: "Upload", upload: { checksum: { sha512: "1" } } }, /upload\.checksum\.sha512/],
    ["unknown field", { type: "Upload", speed: "fast" }, /unknown field "(spec\.dataSource\.)?speed"/],
  ])("is told what is wrong with %s", async (_field, dataSource, expected) => {
    expect(await kubectl.fails(["apply", "-f", "-"], withSource(dataSource))).toMatch(expected);
  });

  it("is told by warnings where validation is off", async () => {
    const { code, stderr, stdout } = await kubectl.run(
      ["create", "--validate=false", "--dry-run=server", "-o", "json", "-f", "-"],
      manifest("warned", { extra: "  speed: fast\n" }),
    );
    expect([code, stdout.includes("speed")]).toEqual([0, false]);
    // From 1.27 on `false` asks the server to ignore them.
    if (minor < 27) expect(stderr).toContain('Warning: unknown field "spec.speed"');
    expect(await kubectl.fails(["get", "cvi", "warned"])).toContain(
      'clustervirtualimages.virtualization.deckhouse.io "warned" not found',
    );
  });

  it("is refused a change of a Ready image", async () => {
    await kubectl.ok(["apply", "-f", "-"], manifest("fixed"));
    await api.setStatus("clustervirtualimages", "fixed", { phase: "Ready" });
    expect(
      await kubectl.fails(["apply", "-f", "-"], manifest("fixed", { url: "https://example.com/new.img" })),
    ).toContain("ClusterVirtualImage is in a Ready state: configuration changes are not available");
  });

  it("works in namespaces, which come with the first image and go with all of them", async () => {
    await kubectl.ok(["apply", "-n", "team-a", "-f", "-"], manifest("mine", { kind: "VirtualImage" }));
    await kubectl.ok(["apply", "-n", "team-b", "-f", "-"], manifest("theirs", { kind: "VirtualImage" }));
    const [header, row] = (await kubectl.ok(["get", "vi", "-n", "team-a"])).split("\n");
    expect([columnsOf(header!)[0], columnsOf(row!)[0]]).toEqual(["NAME", "mine"]);
    expect(await kubectl.ok(["get", "virtualimages", "-A"])).toMatch(/team-a\s+mine[^]*team-b\s+theirs/);
    expect(await kubectl.ok(["get", "ns", "team-a"])).toMatch(/team-a\s+Active/);
    expect(await kubectl.ok(["delete", "ns", "team-a"])).toContain('"team-a" deleted');
    expect(await kubectl.ok(["get", "vi", "-A"])).not.toContain("mine");
    await kubectl.ok(["create", "namespace", "empty"]);
    await kubectl.ok(["label", "namespace", "empty", "a=b"]);
    expect(await kubectl.ok(["get", "ns", "-l", "a=b", "-o", "name"])).toBe("namespace/empty\n");
  });

  it("creates and lists pull secrets", async () => {
    await kubectl.ok([
      "create",
      "secret",
      "docker-registry",
      "pull",
      "-n",
      "team-b",
      "--docker-server=registry.example.com",
      "--docker-username=u",
      "--docker-password=hunter2",
    ]);
    const table = await kubectl.ok(["get", "secrets", "-n", "team-b", "-o", "wide"]);
    expect(table).toMatch(/pull\s+kubernetes\.io\/dockerconfigjson\s+1\s/);
    await kubectl.ok(["label", "secret", "pull", "-n", "team-b", "a=b"]);
    const { data } = JSON.parse(await kubectl.ok(["get", "secret", "pull", "-n", "team-b", "-o", "json"])) as {
      data: Record<string, string>;
    };
    const config = Buffer.from(data[".dockerconfigjson"]!, "base64").toString("utf8");
    expect(config).toContain(Buffer.from("u:hunter2").toString("base64"));
    expect(await kubectl.fails(["create", "secret", "generic", "other", "--from-literal=a=b"])).toContain(
      "kubernetes.io/dockerconfigjson",
    );
    // In what kubectl sends, the password stands in base64 only.
    for (const form of ["hunter2", Buffer.from("u:hunter2").toString("base64"), data[".dockerconfigjson"]!])
      expect(`${table}${api.log.join("")}`).not.toContain(form);
  });

  it("deletes, and waits until finalizers let go", async () => {
    await kubectl.ok(["apply", "-f", "-"], manifest("deleted"));
    expect(await kubectl.ok(["delete", "cvi", "deleted"])).toContain('"deleted" deleted');
    await kubectl.ok(
      ["apply", "-f", "-"],
      manifest("held").replace("metadata:\n", "metadata:\n  finalizers: [example.com/hold]\n"),
    );
    const waiting = kubectl.start(["delete", "cvi", "held"]);
    await expect
      .poll(async () => await kubectl.ok(["get", "cvi", "held", "-o", "jsonpath={.metadata.deletionTimestamp}"]), {
        timeout: 30_000,
      })
      .not.toBe("");
    expect(waiting.child.exitCode).toBeNull();
    await kubectl.ok(["patch", "cvi", "held", "--type", "merge", "-p", '{"metadata":{"finalizers":null}}']);
    expect(await waiting.ended).toBe(0);
    await kubectl.ok(["label", "cvi", "--all", "sweep=yes"]);
    await kubectl.ok(["delete", "cvi", "-l", "sweep=yes"]);
    expect((await kubectl.run(["get", "cvi"])).stderr).toContain("No resources found");
  });

  it("lists what there is, and what its user may", async () => {
    expect(await kubectl.ok(["api-resources", "--api-group=virtualization.deckhouse.io"])).toMatch(
      /clustervirtualimages\s+cvi,cvis\s+\S*virtualization\.deckhouse\.io\S*\s+false\s+ClusterVirtualImage/,
    );
    expect(await kubectl.ok(["auth", "can-i", "create", "virtualimages", "-n", "team-b"])).toBe("yes\n");
    expect(await kubectl.ok(["auth", "can-i", "--list"])).toContain("virtualimages.virtualization.deckhouse.io");
    expect(await kubectl.ok(["get", "virtualization-cluster,virtualization", "-A", "-o", "name"])).toContain(
      "virtualimage.virtualization.deckhouse.io/theirs",
    );
    expect(await kubectl.fails(["get", "vd"])).toContain("doesn't have a resource type");
    const disk = "apiVersion: virtualization.deckhouse.io/v1alpha2\nkind: VirtualDisk\nmetadata:\n  name: root\n";
    expect(await kubectl.fails(["apply", "-f", "-"], disk)).toMatch(
      /no matches for kind "VirtualDisk" in version "virtualization.deckhouse.io\/v1alpha2"/,
    );
  });

  it.runIf(process.env["DVCR_TEST_KUBECTL"] === undefined)("is asked for where it is missing", async () => {
    await expect(Kubectl.for(api, join(api.directory, "no-kubectl"))).rejects.toThrow(
      /kubernetes-client.*DVCR_TEST_KUBECTL/,
    );
  });
});
