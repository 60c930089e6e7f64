import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { Stop } from "../lib/process.mjs";

/** Pulls `image` with skopeo into an OCI layout and returns its manifest, read from there. */
export async function pull(image, layout, workshop) {
  const args = [
    "copy",
    "--quiet",
    "--insecure-policy",
    "--src-tls-verify=false",
    `docker://${image}`,
    `oci:${layout}:demo`,
  ];
  await workshop.run("skopeo", args);
  const index = JSON.parse(await readFile(join(layout, "index.json"), "utf8"));
  const digest = index.manifests[0].digest;
  const manifest = JSON.parse(await readFile(blobPath(layout, digest), "utf8"));
  return { digest, layer: manifest.layers[0], layerPath: blobPath(layout, manifest.layers[0].digest) };
}

/** Unpacks the layer with GNU tar and compares its one file with what qemu-img makes of the same disk. */
export async function compare(layerPath, diskPath, workshop) {
  const expected = workshop.path("expected.raw");
  await workshop.run("qemu-img", ["convert", "-O", "raw", diskPath, expected]);
  const script = 'set -o pipefail; gzip -dc -- "$1" | tar -xO -f - disk/disk.img | cmp - "$2"';
  try {
    await workshop.run("bash", ["-c", script, "compare", layerPath, expected]);
  } catch (error) {
    throw new Stop(`the stored disk is NOT what qemu-img gives. ${error.message}`);
  }
}

const blobPath = (layout, digest) => join(layout, "blobs", ...digest.split(":"));
