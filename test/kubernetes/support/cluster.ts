/** The real cluster that scripts/test-kubernetes.mjs started; tests run in its network. */
import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { parseAllDocuments } from "yaml";

const run = promisify(execFile);

/** The node's address, which pods and tests reach alike. */
export const nodeAddress = "198.51.100.1";

/** A setting of scripts/test-kubernetes.mjs; without it no test here can mean anything. */
export function clusterSetting(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: run \`npm run test:kubernetes\``);
  return value;
}

/** The name under which pods run this checkout's container image. */
export const image = (): string => clusterSetting("DVCR_TEST_IMAGE");

const kubectlPath = (): string => clusterSetting("DVCR_TEST_KUBECTL");

/** Runs the kubectl of the cluster's own version and returns what it prints; throws with its stderr. */
export async function kubectl(...args: string[]): Promise<string> {
  const { stdout } = await run(kubectlPath(), args, { maxBuffer: 64 << 20 });
  return stdout;
}

/** What `kubectl get … -o json` says. */
export async function getJson<T>(...args: string[]): Promise<T> {
  return JSON.parse(await kubectl("get", ...args, "-o", "json")) as T;
}

/** Applies manifests, from objects. */
export async function apply(namespace: string, ...objects: readonly object[]): Promise<void> {
  const list = { apiVersion: "v1", kind: "List", items: objects };
  const child = spawn(kubectlPath(), ["-n", namespace, "apply", "-f", "-"], { stdio: ["pipe", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdin.end(JSON.stringify(list));
  const code = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  if (code !== 0) throw new Error(`kubectl apply: ${stderr}`);
}

export interface Namespace extends AsyncDisposable {
  readonly name: string;
}

let namespaces = 0;

/** A namespace that enforces the restricted Pod Security standard and is deleted when the test leaves its scope. */
export async function restrictedNamespace(): Promise<Namespace> {
  namespaces += 1;
  const name = `test-${process.pid}-${namespaces}`;
  const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
  await apply("default", { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
  await kubectl("-n", name, "wait", "--for=create", "serviceaccount/default", "--timeout=60s");
  return {
    name,
    [Symbol.asyncDispose]: async () => {
      await kubectl("delete", "namespace", name, "--wait=true");
    },
  };
}

export interface Container {
  image: string;
  imagePullPolicy: string;
  env: { name: string; value: string }[];
  resources: { limits: Record<string, string> };
  volumeMounts: { name: string; mountPath: string }[];
  volumeDevices?: { name: string; devicePath: string }[];
}

export interface PodManifest {
  metadata: { name: string; labels: Record<string, string> };
  spec: { containers: [Container]; volumes: { name: string; [kind: string]: unknown }[] };
}

/** The documents of a manifest in deploy/, the first a pod, with this checkout's image in it. */
export function exampleManifests(name: string): [PodManifest, ...object[]] {
  const text = readFileSync(fileURLToPath(new URL(`../../../deploy/${name}`, import.meta.url)), "utf8");
  const [pod, ...rest] = parseAllDocuments(text).map((document) => document.toJS() as object);
  const manifest = pod as PodManifest;
  const [container] = manifest.spec.containers;
  container.image = image();
  container.imagePullPolicy = "Never";
  return [manifest, ...rest];
}

/** Sets variables of a container's environment, those that are there and new ones. */
export function setEnvironment(container: Container, values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) {
    const entry = container.env.find((one) => one.name === name);
    if (entry) entry.value = value;
    else container.env.push({ name, value });
  }
}

export interface EndedPod {
  readonly phase: string;
  readonly exitCode: number | undefined;
  readonly reason: string | undefined;
  readonly message: string;
}

interface ContainerState {
  readonly terminated?: { readonly exitCode: number; readonly reason?: string; readonly message?: string };
}

interface PodStatus {
  readonly status: {
    readonly phase: string;
    readonly reason?: string;
    readonly containerStatuses?: readonly { readonly state: ContainerState; readonly lastState: ContainerState }[];
  };
}

/** How the pod's container ended, the last time where it is started again; undefined while it has not. */
export async function endOf(namespace: string, pod: string): Promise<EndedPod | undefined> {
  const { status } = await getJson<PodStatus>("-n", namespace, "pod", pod);
  const [container] = status.containerStatuses ?? [];
  const ended = container?.state.terminated ?? container?.lastState.terminated;
  if (ended === undefined && status.phase !== "Failed") return undefined;
  // The kubelet reports the container first and the pod's phase a moment later.
  if (ended?.exitCode === 0 && status.phase === "Running") return undefined;
  return {
    phase: status.phase,
    exitCode: ended?.exitCode,
    reason: status.reason ?? ended?.reason,
    message: ended?.message ?? "",
  };
}
