/** deploy/deckhouse/image-policy.yaml on a real API server: which pods get the image, and which do not. */
import { readFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { parseAllDocuments } from "yaml";

import { eventually } from "../support/pod.ts";
import { apply, clusterSetting, exampleManifests, kubectl, type PodManifest } from "./support/cluster.ts";

const controller = "system:serviceaccount:d8-virtualization:virtualization-controller";
const ours = `registry.example.com/dvcr-data-plane@sha256:${"1".repeat(64)}`;
const bundled = "registry.deckhouse.io/virtualization/bundled:v1";

interface Manifest {
  readonly kind: string;
  readonly data?: Record<string, string>;
}

const policy = parseAllDocuments(
  readFileSync(fileURLToPath(new URL("../../deploy/deckhouse/image-policy.yaml", import.meta.url)), "utf8"),
).map((document) => document.toJS() as Manifest);

beforeAll(async () => {
  await apply(
    "default",
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "d8-virtualization" } },
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "project" } },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "policy-test" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
      subjects: [{ kind: "ServiceAccount", name: "virtualization-controller", namespace: "d8-virtualization" }],
    },
  );
  for (const document of policy) {
    if (document.data !== undefined) document.data["image"] = ours;
    await apply("d8-virtualization", document);
  }
  // The API server learns of a policy a moment after it has stored it.
  await eventually(async () => (await imagesOf(podOf("importer-pod.yaml"))).includes(ours));
});

afterAll(async () => {
  for (const { kind } of policy) {
    await kubectl("delete", kind, "dvcr-data-plane-image", "-n", "d8-virtualization", "--ignore-not-found");
  }
  await kubectl("delete", "clusterrolebinding", "policy-test");
  await kubectl("delete", "namespace", "d8-virtualization", "project");
});

function podOf(file: string, container?: string): PodManifest {
  const [pod] = exampleManifests(file);
  pod.spec.containers[0].image = bundled;
  if (container !== undefined) (pod.spec.containers[0] as unknown as { name: string }).name = container;
  return pod;
}

/** The images that a pod's containers have once it was created by `user`. */
async function imagesOf(pod: object, user: string | null = controller): Promise<string[]> {
  const as = user === null ? [] : ["--as", user];
  const args = ["-n", "project", ...as, "create", "--dry-run=server", "-o", "json", "-f", "-"];
  const child = spawn(clusterSetting("DVCR_TEST_KUBECTL"), args, { stdio: ["pipe", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdin.end(JSON.stringify(pod));
  const code = await new Promise((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(stderr);
  return (JSON.parse(stdout) as PodManifest).spec.containers.map(({ image }) => image);
}

describe("pods that the virtualization controller creates", () => {
  it.each(["importer-pod.yaml", "uploader-pod.yaml", "pvc-importer-pod.yaml"])("%s gets our image", async (file) => {
    expect(await imagesOf(podOf(file))).toEqual([ours]);
  });

  it.each(["d8v-pvc-source-importer", "d8v-pvc-target-importer", "d8v-dvcr-bounder"])(
    "with the container %s stay as they are",
    async (container) => {
      expect(await imagesOf(podOf("pvc-importer-pod.yaml", container))).toEqual([bundled]);
    },
  );

  it("keep all that is not the image, other containers included", async () => {
    const pod = podOf("importer-pod.yaml");
    const sidecar = { ...pod.spec.containers[0], name: "sidecar", image: "sidecar:1" };
    (pod.spec.containers as object[]).unshift(sidecar);
    expect(await imagesOf(pod)).toEqual(["sidecar:1", ours]);
  });

  it("with other labels stay as they are", async () => {
    const pod = podOf("importer-pod.yaml");
    pod.metadata.labels = { app: "dvcr" };
    expect(await imagesOf(pod)).toEqual([bundled]);
  });
});

it("pods that somebody else creates stay as they are", async () => {
  expect(await imagesOf(podOf("importer-pod.yaml"), null)).toEqual([bundled]);
  await apply("project", {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata: { name: "somebody" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "edit" },
    subjects: [{ kind: "ServiceAccount", name: "virtualization-controller", namespace: "project" }],
  });
  const namesake = "system:serviceaccount:project:virtualization-controller";
  expect(await imagesOf(podOf("importer-pod.yaml"), namesake)).toEqual([bundled]);
});

it("without the ConfigMap nothing is changed", async () => {
  await kubectl("-n", "d8-virtualization", "delete", "configmap", "dvcr-data-plane-image");
  const images = await eventually(async () => {
    const found = await imagesOf(podOf("importer-pod.yaml"));
    return found.includes(ours) ? undefined : found;
  });
  expect(images).toEqual([bundled]);
});
