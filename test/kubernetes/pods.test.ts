/** The example pods of deploy/, as the platform's controller starts them, on a real node. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { fileDigest, makeRawDisk, qemuConvert } from "../support/disks.ts";
import { Nginx } from "../support/nginx.ts";
import { curl, eventually } from "../support/pod.ts";
import { pullDisk } from "../support/pulled.ts";
import { startRegistry, testUser, type TestRegistry } from "../support/registry.ts";
import {
  apply,
  clusterSetting,
  endOf,
  exampleManifests,
  kubectl,
  nodeAddress,
  restrictedNamespace,
  setEnvironment,
  type PodManifest,
} from "./support/cluster.ts";

const uid = "0a1b2c3d-0000-4000-8000-000000000001";
let directory: string;
let registry: TestRegistry;
let files: Nginx;
let rawDigest: string;
let qcow2: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-kubernetes-"));
  const raw = await makeRawDisk(join(directory, "disk.raw"), 48);
  rawDigest = await fileDigest(raw);
  qcow2 = await qemuConvert(raw, join(directory, "disk.qcow2"), "-O", "qcow2", "-c");
  registry = await startRegistry({ auth: true, tls: true, address: nodeAddress });
  files = await Nginx.start(directory, { address: nodeAddress });
});

afterAll(async () => {
  await files[Symbol.asyncDispose]();
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

/** The objects that the example pods mount. */
async function mountedObjects(namespace: string): Promise<void> {
  const auth = JSON.stringify({ auths: { [registry.host]: { username: testUser.name, password: testUser.password } } });
  await apply(
    namespace,
    {
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/dockerconfigjson",
      metadata: { name: "dvcr-auth-example" },
      stringData: { ".dockerconfigjson": auth },
    },
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "source-ca-example" }, data: {} },
  );
}

function importer(environment: Readonly<Record<string, string>>): PodManifest {
  const [pod] = exampleManifests("importer-pod.yaml");
  const [container] = pod.spec.containers;
  container.env = container.env.filter(({ name }) => name !== "IMPORTER_CERT_DIR" && name !== "IMPORTER_CHECKSUMS");
  setEnvironment(container, {
    OWNER_UID: uid,
    IMPORTER_ENDPOINT: `${files.url}/disk.qcow2`,
    IMPORTER_DESTINATION_ENDPOINT: `${registry.host}/vi/default/disk:${uid}`,
    ...environment,
  });
  return pod;
}

const storedDigest = async (repository: string): Promise<string> => {
  const credentials = `${testUser.name}:${testUser.password}`;
  return (await pullDisk(`docker://${registry.host}/${repository}:${uid}`, directory, "--src-creds", credentials))
    .digest;
};

describe("the example importer pod in a namespace with restricted Pod Security", () => {
  it("stores the disk that qemu-img makes of the file and says so in its termination message", async () => {
    await using namespace = await restrictedNamespace();
    await mountedObjects(namespace.name);
    await apply(namespace.name, importer({}));
    const end = await eventually(() => endOf(namespace.name, "dvcr-importer-example"));
    expect(end, end.message).toMatchObject({ phase: "Succeeded", exitCode: 0 });
    const message = JSON.parse(end.message) as Record<string, unknown>;
    expect(message).toMatchObject({ "source-image-format": "raw", "source-image-virtual-size": 48 << 20 });
    expect(await storedDigest("vi/default/disk")).toBe(rawDigest);
  });

  it("says what failed: a checksum that does not match ends it for good", async () => {
    await using namespace = await restrictedNamespace();
    await mountedObjects(namespace.name);
    const destination = `${registry.host}/vi/default/wrong:${uid}`;
    const sum = `sha256:${"0".repeat(64)}`;
    await apply(namespace.name, importer({ IMPORTER_CHECKSUMS: sum, IMPORTER_DESTINATION_ENDPOINT: destination }));
    const end = await eventually(() => endOf(namespace.name, "dvcr-importer-example"));
    const message = JSON.parse(end.message) as Record<string, string>;
    expect(message["error-message"]).toContain("sha256 sum mismatch");
    expect(await registry.content("vi/default/wrong")).toEqual({ tags: [], manifests: [], layers: [], sessions: [] });
  });

  it("is ended by the kernel where its memory limit is below what Node needs, and the kubelet names it", async () => {
    await using namespace = await restrictedNamespace();
    await mountedObjects(namespace.name);
    const pod = importer({});
    pod.spec.containers[0].resources.limits["memory"] = "24Mi";
    (pod.spec.containers[0].resources as Record<string, unknown>)["requests"] = {};
    await apply(namespace.name, pod);
    const end = await eventually(() => endOf(namespace.name, "dvcr-importer-example"));
    expect(end).toMatchObject({ exitCode: 137, reason: "OOMKilled" });
  });
});

describe("the example uploader pod and its Service", () => {
  it("takes a file by curl through kubectl port-forward and through the Service's address", async () => {
    await using namespace = await restrictedNamespace();
    await mountedObjects(namespace.name);
    const [pod, service] = exampleManifests("uploader-pod.yaml");
    setEnvironment(pod.spec.containers[0], {
      OWNER_UID: uid,
      UPLOADER_DESTINATION_ENDPOINT: `${registry.host}/cvi/disk:${uid}`,
    });
    await apply(namespace.name, pod, service!);
    await kubectl("-n", namespace.name, "wait", "--for=condition=Ready", "pod/dvcr-uploader-example", "--timeout=60s");
    const forward = spawn(clusterSetting("DVCR_TEST_KUBECTL"), [
      ...["-n", namespace.name, "port-forward", "service/dvcr-uploader-example", "18444:80"],
    ]);
    try {
      await once(forward.stdout, "data");
      const asked = await curl("-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:18444/upload").done;
      expect(asked.stdout).toBe("200");
    } finally {
      forward.kill();
    }
    const address = await kubectl(
      ...["-n", namespace.name, "get", "service", "dvcr-uploader-example", "-o", "jsonpath={.spec.clusterIP}"],
    );
    const sent = await curl("-f", "-T", qcow2, `http://${address}/upload`).done;
    expect(sent.code, sent.stderr + sent.stdout).toBe(0);
    const end = await eventually(() => endOf(namespace.name, "dvcr-uploader-example"));
    expect(end, end.message).toMatchObject({ phase: "Succeeded", exitCode: 0 });
    expect(await storedDigest("cvi/disk")).toBe(rawDigest);
  });
});
