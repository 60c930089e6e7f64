/**
 * The tests that need a real Kubernetes: builds its executable once, builds this project's container image, starts a
 * cluster in namespaces of its own, runs test/kubernetes in its network, ends it.
 *
 *   npm run test:kubernetes -- [--emulate 1.33] [--keep] [FILE…]
 *
 * --emulate: the API server offers the API of an older version. --keep: the cluster goes on after the tests until
 * Ctrl-C, with the commands that reach it. Exit codes: 0 passed, 1 a test failed, 2 something is missing.
 */
import { mkdirSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";

import { buildImage } from "./image.mjs";
import { Cluster } from "./lib/kubernetes-cluster.mjs";
import {
  debianExecutables,
  kubernetesExecutables,
  missingCommands,
  pauseImage,
  requireKubernetesTools,
} from "./lib/kubernetes-parts.mjs";
import { inRoot, root } from "./lib/paths.mjs";
import { capture, fail, isMain, run, Stop } from "./lib/process.mjs";
import { setup } from "./setup.mjs";

const work = inRoot("build/kubernetes");
const log = `${work}/build.log`;
/** The name under which pods ask for this project's image. */
const imageName = "localhost/dvcr-data-plane:test";

/** Says what is done and how long it took. */
async function step(text, make) {
  const started = performance.now();
  process.stdout.write(`kubernetes: ${text} ... `);
  try {
    const result = await make();
    process.stdout.write(`${((performance.now() - started) / 1000).toFixed(1)} s\n`);
    return result;
  } catch (error) {
    process.stdout.write("failed\n");
    throw error;
  }
}

/** The project's own image as an archive that containerd imports. */
async function productImage() {
  mkdirSync(work, { recursive: true });
  const archive = `${work}/dvcr.tar`;
  rmSync(archive, { force: true });
  const layout = await buildImage({ output: `${work}/image` });
  await run("skopeo", ["copy", "-q", layout, `oci-archive:${archive}:${imageName}`], { log });
  return archive;
}

async function runTests(cluster, files) {
  const [command, ...prefix] = cluster.inNetwork();
  const vitest = [process.execPath, inRoot("node_modules/vitest/vitest.mjs"), "run", "--config"];
  await run(command, [...prefix, ...vitest, inRoot("test/kubernetes/vitest.config.ts"), ...files], {
    cwd: root,
    env: {
      KUBECONFIG: cluster.kubeconfig,
      DVCR_TEST_KUBECTL: `${cluster.parts.kubeBin}/kubectl`,
      DVCR_TEST_KUBE_BIN: cluster.parts.kubeBin,
      DVCR_TEST_DEBIAN_ROOT: cluster.parts.debianRoot,
      DVCR_TEST_CLUSTER_STATE: cluster.state,
      DVCR_TEST_CLUSTER_INIT: String(cluster.init),
      DVCR_TEST_IMAGE: imageName,
    },
  });
}

/** Waits for Ctrl-C with the cluster running. */
function untilInterrupted(cluster) {
  const enter = cluster.inNetwork().join(" ");
  process.stdout.write(
    `\nthe cluster goes on; Ctrl-C ends it:\n  KUBECONFIG=${cluster.kubeconfig} ${enter} ` +
      `${cluster.parts.kubeBin}/kubectl get pods -A\n`,
  );
  return new Promise((resolve) => process.once("SIGINT", resolve));
}

async function main() {
  const { values, positionals } = parseArgs({
    options: { emulate: { type: "string" }, keep: { type: "boolean" } },
    allowPositionals: true,
  });
  await requireKubernetesTools();
  await setup({ purpose: "kubernetes", quiet: true });
  const missing = missingCommands();
  if (missing.length > 0) throw new Stop(`npm run test:kubernetes: not found: ${missing.join(", ")}`, 2);
  const kubeBin = await step("Kubernetes' executable (built once)", () => kubernetesExecutables(log));
  const debianRoot = await step("etcd, containerd and runc of Debian", () => debianExecutables(log));
  const images = [await pauseImage(log), await step("the project's image", productImage)];
  const apiFlags = values.emulate === undefined ? "" : `--emulated-version=kube=${values.emulate}`;
  const cluster = new Cluster(`${work}/cluster`, { kubeBin, debianRoot, images, apiFlags });
  const interrupted = () => void cluster.stop().then(() => process.exit(130));
  process.once("SIGTERM", interrupted);
  if (!values.keep) process.once("SIGINT", interrupted);
  try {
    await step("starting a cluster", () => cluster.start());
    const { stdout } = await capture(`${kubeBin}/kube-apiserver`, ["--version"]);
    process.stdout.write(`kubernetes: ${stdout.trim()}${apiFlags === "" ? "" : `, ${apiFlags}`}\n`);
    await runTests(cluster, positionals);
    if (values.keep) await untilInterrupted(cluster);
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  const left = await cluster.stop();
  if (left.length > 0) throw new Stop(`control groups of the cluster stay: ${left.join(", ")}`);
}

if (isMain(import.meta)) await main().catch(fail);
