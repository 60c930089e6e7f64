import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { sha256Digest } from "../src/layer/image-config.ts";
import { dvcr, dvcrImport } from "./support/cli.ts";
import { buildDiskImage, gnuTar, ImagePusher, type TestLayer } from "./support/container-images.ts";
import { fileDigest, makeRawDisk, patternBytes, qemuConvert } from "./support/disks.ts";
import { startExecutable, writeAuthConfig } from "./support/executable.ts";
import { FakeRegistry } from "./support/fake-registry.ts";
import { umociDiskDigest } from "./support/pulled.ts";
import { startRegistry, testUser, type TestRegistry } from "./support/registry.ts";
import { tool } from "./support/tools.ts";

let directory: string;
let registry: TestRegistry;
let raw: string;
let rawDigest: string;
let qcow2: string;
let tags = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-registry-source-"));
  raw = await makeRawDisk(join(directory, "disk.raw"), 16);
  rawDigest = await fileDigest(raw);
  qcow2 = await qemuConvert(raw, join(directory, "disk.qcow2"), "-O", "qcow2");
  registry = await startRegistry();
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

/** Imports into an OCI layout; gives the sha256 of the disk that umoci unpacks from it. */
async function importedDigest(reference: string, ...flags: string[]): Promise<string> {
  const tag = `t${String(tags++)}`;
  await dvcrImport(reference, `oci:${join(directory, "layout")}:${tag}`, "--src-tls-verify=false", ...flags);
  return await umociDiskDigest(join(directory, "layout"), tag, directory);
}

/** The one-line refusal of an import. */
async function refusal(reference: string, ...flags: string[]): Promise<string> {
  const finished = await dvcr([
    "import",
    "--quiet",
    "--src-tls-verify=false",
    ...flags,
    reference,
    `oci:${join(directory, "refused")}:x`,
  ]);
  expect(finished.code).not.toBe(0);
  return finished.stderr;
}

/** A directory to pack as a layer. */
async function rootfs(files: Readonly<Record<string, Uint8Array | string>>): Promise<string> {
  const root = await mkdtemp(join(directory, "root-"));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(root, name, ".."), { recursive: true });
    await writeFile(join(root, name), typeof content === "string" ? await readFile(content) : content);
  }
  return root;
}

async function layerOf(files: Readonly<Record<string, Uint8Array | string>>, ...options: string[]): Promise<TestLayer> {
  return { content: await gnuTar(await rootfs(files), ["."], "--exclude=packed.tar", ...options) };
}

async function pushLayers(repository: string, ...layers: readonly TestLayer[]): Promise<string> {
  await using pusher = new ImagePusher(registry.host, repository);
  await pusher.image({ layers }, "t");
  return `docker://${registry.host}/${repository}:t`;
}

describe("an image made FROM scratch with the disk copied to /disk/", () => {
  let built: string;
  beforeAll(async () => {
    built = await buildDiskImage(directory, "disk.qcow2");
  });

  it.each([
    ["as OCI with gzip", []],
    ["as OCI with zstd", ["--dest-compress-format", "zstd"]],
    ["as docker v2 schema 2", ["--format", "v2s2"]],
  ])("%s is imported as the disk it holds", async (name, flags) => {
    const repository = `built/${name.replaceAll(" ", "-").toLowerCase()}`;
    await tool(
      "skopeo",
      "copy",
      "--dest-tls-verify=false",
      ...flags,
      built,
      `docker://${registry.host}/${repository}:1`,
    );
    expect(await importedDigest(`docker://${registry.host}/${repository}:1`)).toBe(rawDigest);
  });

  it("is found by its digest, and refused by another", async () => {
    const reference = `docker://${registry.host}/built/digest`;
    await tool("skopeo", "copy", "--dest-tls-verify=false", built, `${reference}:1`);
    const { Digest } = JSON.parse(await tool("skopeo", "inspect", "--tls-verify=false", `${reference}:1`)) as {
      Digest: string;
    };
    expect(await importedDigest(`${reference}@${Digest}`)).toBe(rawDigest);
    expect(await refusal(`${reference}@sha256:${"0".repeat(64)}`)).toMatch(/^E_SOURCE_NOT_FOUND: /);
  });

  it("is told by inspect from its first bytes", async () => {
    const reference = `docker://${registry.host}/built/inspect:1`;
    await tool("skopeo", "copy", "--dest-tls-verify=false", built, reference);
    const finished = await dvcr(["inspect", "--json", "--src-tls-verify=false", reference]);
    expect(JSON.parse(finished.stdout)).toMatchObject({
      format: "qcow2",
      "virtual-size": 16 * 2 ** 20,
      compression: [],
    });
  });

  it("comes from a registry with a private CA and a pull secret, and from no registry without them", async () => {
    await using closed = await startRegistry({ auth: true, tls: true });
    const reference = `docker://${closed.host}/vms/disk:1`;
    const credentials = `${testUser.name}:${testUser.password}`;
    await tool("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", credentials, built, reference);
    const verified = ["--src-tls-verify=true", "--src-cert-dir", closed.certDirectory];
    expect(await importedDigest(reference, ...verified, "--src-authfile", writeAuthConfig(directory, closed))).toBe(
      rawDigest,
    );
    expect(await importedDigest(reference, ...verified, "--src-creds", credentials)).toBe(rawDigest);
    expect(await refusal(reference, ...verified)).toMatch(/^E_SOURCE_DENIED: /);
    expect(await refusal(reference, "--src-tls-verify=true")).toMatch(/^E_SOURCE_TLS: /);
  });

  it("is not fetched by plain HTTP while certificates are verified", async () => {
    expect(await refusal(`docker://${registry.host}/built/digest:1`, "--src-tls-verify=true")).toMatch(
      /^E_SOURCE_TLS: /,
    );
  });
});

describe("an index", () => {
  it("is resolved to linux/amd64 or to the platform asked for", async () => {
    const other = await makeRawDisk(join(directory, "other.raw"), 18);
    await using pusher = new ImagePusher(registry.host, "index/two");
    const platforms = { amd64: raw, arm64: other };
    const entries = [];
    for (const [architecture, disk] of Object.entries(platforms)) {
      entries.unshift(
        await pusher.image({
          layers: [await layerOf({ "disk/disk.img": disk })],
          platform: { os: "linux", architecture },
        }),
      );
    }
    await pusher.index(entries, "t");
    const reference = `docker://${registry.host}/index/two:t`;
    expect(await importedDigest(reference)).toBe(rawDigest);
    expect(await importedDigest(reference, "--platform", "linux/arm64")).toBe(await fileDigest(other));
    expect(await refusal(reference, "--platform", "linux/s390x")).toMatch(
      /^E_SOURCE_NOT_FOUND: .*linux\/s390x, only for: linux\/arm64, linux\/amd64/,
    );
  });
});

describe("a layer", () => {
  it.each([
    ["--format=gnu"],
    ["--format=pax", "--sparse-version=0.0"],
    ["--format=pax", "--sparse-version=0.1"],
    ["--format=pax", "--sparse-version=1.0"],
  ])("packed with %s %s --sparse gives the disk with its holes", async (...options) => {
    const root = await rootfs({});
    await mkdir(join(root, "disk"));
    await tool("cp", "--sparse=always", raw, join(root, "disk/disk.img"));
    const content = await gnuTar(root, ["disk"], "--sparse", ...options);
    expect(content.length).toBeLessThan(14 * 2 ** 20);
    expect(await importedDigest(await pushLayers(`sparse/v${options.join("").replace(/\D/g, "")}`, { content }))).toBe(
      rawDigest,
    );
  });

  it("without compression, with a name beyond 100 characters, with a link before the disk", async () => {
    const root = await rootfs({ [`disk/${"n".repeat(150)}.qcow2`]: qcow2 });
    await symlink("elsewhere", join(root, "disk/a-link"));
    expect(
      await importedDigest(await pushLayers("odd/names", { content: await gnuTar(root, ["disk/a-link", "disk"]) })),
    ).toBe(rawDigest);
  });

  it("holds a compressed image, which is unpacked in its turn, and whose checksum is the file's own", async () => {
    await tool("xz", "-0kf", qcow2);
    const reference = await pushLayers("odd/compressed", await layerOf({ "disk/disk.qcow2.xz": `${qcow2}.xz` }));
    expect(await importedDigest(reference, "--checksum", `sha256:${await fileDigest(`${qcow2}.xz`)}`)).toBe(rawDigest);
    expect(await refusal(reference, "--checksum", `md5:${"0".repeat(32)}`)).toMatch(
      /^E_CHECKSUM_MISMATCH: md5 sum mismatch/,
    );
  });

  it("without a file under disk/ is refused with what it holds", async () => {
    expect(
      await refusal(
        await pushLayers("odd/none", await layerOf({ "etc/passwd": patternBytes(100, 1), "disk.img": qcow2 })),
      ),
    ).toMatch(/^E_NO_DISK: .*(etc\/passwd.*disk\.img|disk\.img.*etc\/passwd)/);
  });
});

describe("several layers", () => {
  it("give the disk of the topmost that has one", async () => {
    const old = await layerOf({ "disk/disk.img": patternBytes(70_000, 3) });
    const reference = await pushLayers(
      "layers/two",
      old,
      await layerOf({ "disk/disk.img": qcow2 }),
      await layerOf({ "etc/motd": patternBytes(10, 1) }),
    );
    expect(await importedDigest(reference)).toBe(rawDigest);
  });

  it("hide by whiteouts what is below them", async () => {
    const both = await layerOf({ "disk/a.img": patternBytes(70_000, 3), "disk/b.img": qcow2 }, "--sort=name");
    const reference = await pushLayers("layers/whiteout", both, await layerOf({ "disk/.wh.a.img": new Uint8Array() }));
    expect(await importedDigest(reference)).toBe(rawDigest);
    const gone = await pushLayers("layers/opaque", both, await layerOf({ "disk/.wh..wh..opq": new Uint8Array() }));
    expect(await refusal(gone)).toMatch(/^E_NO_DISK: .*2 layers, only: .*a\.img/);
  });
});

describe("an artifact", () => {
  const artifactType = "application/vnd.example.disk";

  it.each(["application/vnd.oci.image.layer.v1.tar", "application/octet-stream"])(
    "whose layer is the disk file is imported (%s)",
    async (mediaType) => {
      const repository = `artifact/${mediaType.length.toString()}`;
      await using pusher = new ImagePusher(registry.host, repository);
      await pusher.image(
        { layers: [{ content: await readFile(qcow2), mediaType, title: "disk.qcow2" }], artifactType },
        "t",
      );
      expect(await importedDigest(`docker://${registry.host}/${repository}:t`)).toBe(rawDigest);
    },
  );

  it("with a text beside the disk gives the disk, with two disks is refused by their names", async () => {
    const disk = { content: await readFile(qcow2), mediaType: "application/octet-stream", title: "disk.qcow2" };
    await using pusher = new ImagePusher(registry.host, "artifact/more");
    await pusher.image(
      { layers: [{ content: Buffer.from("read me"), mediaType: "text/plain", title: "README" }, disk], artifactType },
      "one",
    );
    await pusher.image({ layers: [disk, { ...disk, title: "again.qcow2" }], artifactType }, "two");
    expect(await importedDigest(`docker://${registry.host}/artifact/more:one`)).toBe(rawDigest);
    expect(await refusal(`docker://${registry.host}/artifact/more:two`)).toMatch(
      /^E_SEVERAL_DISKS: .*disk\.qcow2, again\.qcow2/,
    );
  });
});

describe("a registry that errs", () => {
  async function scripted(
    layer: TestLayer,
    ...answers: readonly {
      readonly body: Uint8Array;
      readonly cutAnswerAfter?: number;
      readonly headers?: Record<string, string>;
      readonly status?: number;
    }[]
  ) {
    const digest = sha256Digest(layer.content);
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: `sha256:${"0".repeat(64)}`, size: 2 },
      layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar", digest, size: layer.content.byteLength }],
    });
    const headers = { "content-type": "application/vnd.oci.image.manifest.v1+json" };
    return await FakeRegistry.start([
      { method: "GET", path: "/v2/vm/disk/manifests/1", body: manifest, headers },
      ...answers.map((answer) => ({ method: "GET", path: `/v2/vm/disk/blobs/${digest}`, ...answer })),
    ]);
  }

  it("and cuts the blob is asked for the rest", async () => {
    const layer = await layerOf({ "disk/disk.img": qcow2 });
    const { content } = layer;
    const at = 300_000;
    const range = { "content-range": `bytes ${String(at)}-${String(content.length - 1)}/${String(content.length)}` };
    await using fake = await scripted(
      layer,
      { body: content, cutAnswerAfter: at },
      { body: content.subarray(at), status: 206, headers: range },
    );
    expect(await importedDigest(`docker://${fake.host}/vm/disk:1`)).toBe(rawDigest);
    expect(fake.requests.at(-1)?.headers["range"]).toBe(`bytes=${String(at)}-`);
    expect(fake.surprises).toEqual([]);
  });

  it("and sends other bytes than the digest names is refused", async () => {
    const layer = await layerOf({ "disk/disk.img": qcow2 });
    const body = Buffer.from(layer.content);
    const at = Math.floor(body.length / 2);
    body.writeUInt8(body.readUInt8(at) ^ 1, at);
    await using fake = await scripted(layer, { body });
    expect(await refusal(`docker://${fake.host}/vm/disk:1`)).toMatch(
      /^E_CHECKSUM_MISMATCH: the layer's blob does not match its digest/,
    );
  });

  it("and ends the blob early, always, is given up", async () => {
    const layer = await layerOf({ "disk/disk.img": qcow2 });
    await using fake = await scripted(layer, { body: layer.content.subarray(0, 100_000) });
    // The second request is answered 418.
    expect(await refusal(`docker://${fake.host}/vm/disk:1`)).toMatch(/^E_SOURCE_HTTP: .*418/m);
  });
});

describe("dvcr-importer", () => {
  it("imports a registry source with the controller's pull secret and CA", async () => {
    await using closed = await startRegistry({ auth: true, tls: true });
    await using pusher = new ImagePusher(closed.host, "vms/disk");
    await pusher.image({ layers: [await layerOf({ "disk/disk.qcow2": qcow2 })] }, "1");
    const secret = await mkdtemp(join(directory, "secret-"));
    const importer = startExecutable("dvcr-importer", directory, {
      IMPORTER_SOURCE: "registry",
      IMPORTER_ENDPOINT: `docker://${closed.host}/vms/disk:1`,
      IMPORTER_AUTH_CONFIG: writeAuthConfig(secret, closed),
      IMPORTER_CERT_DIR: closed.certDirectory,
      INSECURE_TLS: "false",
      IMPORTER_DESTINATION_ENDPOINT: `oci:${join(directory, "pod")}:uid`,
    });
    expect(await importer.exit).toBe(0);
    expect(importer.message()).toMatchObject({
      "source-image-format": "raw",
      "source-image-virtual-size": 16 * 2 ** 20,
    });
    expect(await umociDiskDigest(join(directory, "pod"), "uid", directory)).toBe(rawDigest);
  });
});
