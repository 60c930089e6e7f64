/**
 * Builds the container image from this checkout's build, with buildah and without a base image or a daemon.
 *
 *   npm run image -- [--output=build/image] [--node=PATH]
 *
 * The result is an OCI layout tagged with the package's version; `skopeo copy oci:build/image:VERSION docker://...`
 * takes it from there. Node comes from npm's package of its release binaries unless --node names an executable.
 */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";

import { setup } from "./setup.mjs";
import { layOutRootfs } from "./image-rootfs.mjs";
import { inRoot, root } from "./lib/paths.mjs";
import { releasedNode } from "./lib/released-node.mjs";
import { capture, fail, findCommand, isMain, run, Stop } from "./lib/process.mjs";

/** Runs buildah with a storage of its own, so that no configuration of the machine and none of its images matter. */
function builder(storage, log) {
  const own = ["--root", `${storage}/root`, "--runroot", `${storage}/run`, "--storage-driver", "vfs"];
  return (...args) => run("buildah", [...own, ...args], { cwd: root, log });
}

/** Builds and writes the image to the OCI layout `output`; gives its reference. */
export async function buildImage({ output, node }) {
  if (findCommand("buildah") === undefined)
    throw new Stop("buildah is missing (Debian package buildah); any builder can build the Dockerfile instead", 2);
  const log = inRoot("build/image.log");
  const { version } = JSON.parse(readFileSync(inRoot("package.json"), "utf8"));
  const [work, rootfs] = [inRoot("build/image-work"), inRoot("build/image-work/rootfs")];
  rmSync(log, { force: true });
  rmSync(work, { recursive: true, force: true });
  rmSync(output, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  try {
    await layOutRootfs(rootfs, node ?? (await releasedNode(log)));
    const revision = (await capture("git", ["-C", root, "rev-parse", "HEAD"])).stdout.trim() || "unknown";
    const buildah = builder(`${work}/storage`, log);
    const local = `localhost/dvcr-data-plane:${version}`;
    const facts = ["--build-arg", `VERSION=${version}`, "--build-arg", `REVISION=${revision}`];
    // The context holds nothing that the last stage reads; an empty one spares the builder a walk through the checkout.
    mkdirSync(`${work}/context`);
    const context = ["--build-context", `rootfs=${rootfs}`, "-f", inRoot("Dockerfile"), `${work}/context`];
    await buildah(
      "build",
      "--isolation",
      "chroot",
      "--format",
      "oci",
      "--timestamp",
      "0",
      ...facts,
      "-t",
      local,
      ...context,
    );
    await buildah("push", "--quiet", "--compression-format", "gzip", local, `oci:${output}:${version}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return `oci:${output}:${version}`;
}

async function main() {
  const { values } = parseArgs({
    options: { output: { type: "string", default: inRoot("build/image") }, node: { type: "string" } },
  });
  await setup({ purpose: "builder", quiet: true });
  const reference = await buildImage({ output: resolve(values.output), node: values.node });
  process.stdout.write(`${reference}\n`);
}

if (isMain(import.meta)) await main().catch(fail);
