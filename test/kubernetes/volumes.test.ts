/** The pvc-importer as the platform's controller starts it: real claims of both kinds, uid 64535, a read-only root. */
import { mkdir, mkdtemp, open, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { fileDigest, makeRawDisk } from "../support/disks.ts";
import { eventually } from "../support/pod.ts";
import { startRegistry, testUser, type TestRegistry } from "../support/registry.ts";
import { tool } from "../support/tools.ts";
import {
  apply,
  clusterSetting,
  endOf,
  exampleManifests,
  nodeAddress,
  restrictedNamespace,
  setEnvironment,
  type EndedPod,
  type PodManifest,
} from "./support/cluster.ts";

const MIB = 2 ** 20;
const dvcr = new URL("../../bin/dvcr", import.meta.url).pathname;
let directory: string;
let raw: string;
let registry: TestRegistry;
let volumes = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-volumes-"));
  raw = await makeRawDisk(join(directory, "disk.raw"), 32);
  registry = await startRegistry({ auth: true, tls: true, address: nodeAddress });
  await stored("cvi/disk");
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

async function stored(repository: string): Promise<void> {
  const access = ["--dest-creds", `${testUser.name}:${testUser.password}`, "--dest-tls-verify=false"];
  await tool(
    process.execPath,
    dvcr,
    "import",
    "--quiet",
    ...access,
    raw,
    `docker://${registry.host}/${repository}:0a1b`,
  );
}

/** A claim that is bound to `path` on the node: a directory, or a block device. */
async function claim(namespace: string, path: string, volumeMode: "Filesystem" | "Block"): Promise<void> {
  volumes += 1;
  const name = `volume-${process.pid}-${volumes}`;
  const spec = { accessModes: ["ReadWriteOnce"], volumeMode, storageClassName: "none" };
  const terms = [{ matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: ["n1"] }] }];
  await apply(
    namespace,
    {
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name },
      spec: {
        ...spec,
        capacity: { storage: "48Mi" },
        persistentVolumeReclaimPolicy: "Retain",
        local: { path },
        nodeAffinity: { required: { nodeSelectorTerms: terms } },
      },
    },
    {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "disk-example" },
      spec: { ...spec, volumeName: name, resources: { requests: { storage: "48Mi" } } },
    },
  );
}

async function mountedObjects(namespace: string, password = testUser.password): Promise<void> {
  const authority = await readFile(join(registry.certDirectory, "ca.crt"), "utf8");
  await apply(
    namespace,
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "dvcr-auth-example" },
      stringData: { accessKeyId: testUser.name, secretKey: password },
    },
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "dvcr-ca-example" }, data: { "ca.crt": authority } },
  );
}

function importer(environment: Readonly<Record<string, string>> = {}): PodManifest {
  const [pod] = exampleManifests("pvc-importer-pod.yaml");
  setEnvironment(pod.spec.containers[0], {
    IMPORTER_ENDPOINT: `docker://${registry.host}/cvi/disk:0a1b`,
    IMPORTER_IMAGE_SIZE: "48Mi",
    DVCR_RETRY_SECONDS: "2",
    ...environment,
  });
  return pod;
}

function onBlock(pod: PodManifest): PodManifest {
  const [container] = pod.spec.containers;
  container.volumeMounts = container.volumeMounts.filter(({ mountPath }) => mountPath !== "/data");
  container.volumeDevices = [{ name: "pvc-importer-data-vol", devicePath: "/dev/pvc-importer-block-volume" }];
  return pod;
}

const ended = (namespace: string): Promise<EndedPod> => eventually(() => endOf(namespace, "dvcr-pvc-importer-example"));

/** Runs a command in the node's mount namespace. */
const onNode = (...command: string[]): Promise<string> =>
  tool("nsenter", "--target", clusterSetting("DVCR_TEST_CLUSTER_INIT"), "--mount", "--pid", "--", ...command);

/** A directory of the node, on a file system of `size` where that is given, below the cluster's own state. */
async function withDirectory(use: (path: string) => Promise<void>, size?: string): Promise<void> {
  const path = join(clusterSetting("DVCR_TEST_CLUSTER_STATE"), `volume-${volumes}`);
  await mkdir(path);
  try {
    if (size !== undefined) await onNode("mount", "-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path);
    await use(path);
  } finally {
    if (size !== undefined) await onNode("umount", "--lazy", path);
    await rm(path, { recursive: true, force: true });
  }
}

/** A loop device of `size` bytes that is full of 0xAA, and its file. */
async function withDevice(size: number, use: (device: string, file: string) => Promise<void>): Promise<void> {
  const file = join(clusterSetting("DVCR_TEST_CLUSTER_STATE"), `device-${volumes}`);
  await writeFile(file, Buffer.alloc(size, 0xaa));
  const device = (await tool("losetup", "--find", "--show", file)).trim();
  try {
    await use(device, file);
  } finally {
    await tool("losetup", "--detach", device);
    await rm(file);
  }
}

describe("the example pvc-importer pod in a namespace with restricted Pod Security", () => {
  it("fills a file system volume with a qcow2 file of the size asked for", async () => {
    await withDirectory(async (path) => {
      await using namespace = await restrictedNamespace();
      await claim(namespace.name, path, "Filesystem");
      await mountedObjects(namespace.name);
      await apply(namespace.name, importer());
      const end = await ended(namespace.name);
      expect(end, end.message).toMatchObject({ phase: "Succeeded", exitCode: 0 });
      expect(JSON.parse(end.message)).toMatchObject({ message: "Import Complete", scratchSpaceRequired: false });
      const file = join(path, "disk.img");
      await tool("qemu-img", "check", "-q", file);
      await tool("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", file, raw);
      expect(await stat(file)).toMatchObject({ gid: 64535, mode: 0o100660 });
    });
  });

  it("fills a block volume with the disk and zeros to its end, and it is thin afterwards", async () => {
    await withDevice(48 * MIB, async (device, file) => {
      await using namespace = await restrictedNamespace();
      await claim(namespace.name, device, "Block");
      await mountedObjects(namespace.name);
      await apply(namespace.name, onBlock(importer()));
      const end = await ended(namespace.name);
      expect(end, end.message).toMatchObject({ phase: "Succeeded", exitCode: 0 });
      const expected = join(directory, "expected");
      await tool("cp", raw, expected);
      await truncate(expected, 48 * MIB);
      expect(await fileDigest(file)).toBe(await fileDigest(expected));
      expect((await stat(file)).blocks * 512).toBeLessThan(10.5 * MIB);
    });
  });
});

describe("a fault in the pod has its cause and exit code", () => {
  const faults: [string, Readonly<Record<string, string>>, RegExp, number][] = [
    ["an image that is not there", { IMPORTER_ENDPOINT: "missing" }, /^E_SOURCE_NOT_FOUND: /, 3],
    ["a certificate that is not trusted", { IMPORTER_CERT_DIR: "/tmp" }, /^E_SOURCE_TLS: /, 3],
    ["another format than declared", { DVCR_SOURCE_FORMAT: "vmdk" }, /^E_[A-Z_]+: .*vmdk/, 3],
    ["a registry that is away", { IMPORTER_ENDPOINT: "away" }, /^E_SOURCE_IO: /, 1],
  ];

  it.each(faults)("%s", async (_, environment, message, exitCode) => {
    const endpoints: Readonly<Record<string, string>> = {
      missing: `docker://${registry.host}/cvi/missing:0a1b`,
      away: `docker://${nodeAddress}:9/cvi/disk:0a1b`,
    };
    const { IMPORTER_ENDPOINT: endpoint = "" } = environment;
    await withDirectory(async (path) => {
      await using namespace = await restrictedNamespace();
      await claim(namespace.name, path, "Filesystem");
      await mountedObjects(namespace.name);
      const image = endpoints[endpoint] ?? `docker://${registry.host}/cvi/disk:0a1b`;
      await apply(namespace.name, importer({ ...environment, IMPORTER_ENDPOINT: image }));
      const end = await ended(namespace.name);
      expect(end.message).toMatch(message);
      expect(end.exitCode).toBe(exitCode);
    });
  });

  it("a wrong password", async () => {
    await withDirectory(async (path) => {
      await using namespace = await restrictedNamespace();
      await claim(namespace.name, path, "Filesystem");
      await mountedObjects(namespace.name, "wrong-secret");
      await apply(namespace.name, importer());
      const end = await ended(namespace.name);
      expect(end.message).toMatch(/^E_SOURCE_DENIED: /);
      expect(end.message).not.toContain("wrong-secret");
      expect(end.exitCode).toBe(3);
    });
  });

  it("a device that is too small", async () => {
    await withDevice(16 * MIB, async (device) => {
      await using namespace = await restrictedNamespace();
      await claim(namespace.name, device, "Block");
      await mountedObjects(namespace.name);
      await apply(namespace.name, onBlock(importer()));
      const end = await ended(namespace.name);
      expect(end.message).toMatch(/^E_DISK_TOO_SMALL: .*16777216/);
      expect(end.exitCode).toBe(3);
    });
  });

  it("a volume whose file system is full", async () => {
    await withDirectory(async (path) => {
      await using namespace = await restrictedNamespace();
      await claim(namespace.name, path, "Filesystem");
      await mountedObjects(namespace.name);
      await apply(namespace.name, importer());
      const end = await ended(namespace.name);
      expect(end.message).toMatch(/^E_DISK_TOO_SMALL: /);
      expect(end.exitCode).toBe(3);
    }, "6m");
  });

  it("a bit that has flipped in the layer", async () => {
    await stored("cvi/flipped");
    const { layers } = await registry.content("cvi/flipped");
    const blobs = layers.map((digest) =>
      join(registry.storage, "docker/registry/v2/blobs/sha256", digest.slice(0, 2), digest, "data"),
    );
    const sizes = await Promise.all(blobs.map(async (path) => (await stat(path)).size));
    const file = await open(blobs[sizes.indexOf(Math.max(...sizes))]!, "r+");
    const at = Math.floor(Math.max(...sizes) / 2);
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    await file.write(Buffer.of(byte.readUInt8() ^ 1), 0, 1, at);
    try {
      await withDirectory(async (path) => {
        await using namespace = await restrictedNamespace();
        await claim(namespace.name, path, "Filesystem");
        await mountedObjects(namespace.name);
        await apply(namespace.name, importer({ IMPORTER_ENDPOINT: `docker://${registry.host}/cvi/flipped:0a1b` }));
        const end = await ended(namespace.name);
        expect(end.message).toMatch(/^E_[A-Z_]+: /);
        expect(end.exitCode).toBe(3);
      });
    } finally {
      await file.write(byte, 0, 1, at);
      await file.close();
    }
  });
});
