/** What a side stored in the registry: its size, and whether it is the disk it should be. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";

import { capture, Stop } from "../../scripts/lib/process.mjs";

const accept = ["oci.image.manifest.v1", "docker.distribution.manifest.v2"]
  .map((kind) => `application/vnd.${kind}+json`)
  .join(", ");

/** Bytes of all blobs of `image` (host:port/repository:tag), as its manifest in the registry says. */
export async function storedBytes(image) {
  const [, host, repository, tag] = /^([^/]+)\/(.+):([^:]+)$/.exec(image);
  const answer = await fetch(`http://${host}/v2/${repository}/manifests/${tag}`, { headers: { accept } });
  if (!answer.ok) throw new Stop(`the registry has no ${repository}:${tag} (status ${answer.status})`);
  const manifest = await answer.json();
  return [manifest.config, ...manifest.layers].reduce((sum, one) => sum + one.size, 0);
}

/** Prints the SHA-256 of the layer's tar (the diffID) and of what is below disk/ in it. */
const digestScript = `
cd "$DIRECTORY"
mkfifo tar
openssl dgst -sha256 -r < tar > diffid &
$UNPACK < "$LAYER" | tee tar | tar -xO -f - --wildcards 'disk/*' | openssl dgst -sha256 -r > disk
wait
echo "$(cut -c1-64 diffid) $(cut -c1-64 disk)"
`;

/**
 * Pulls `image` with skopeo into the directory `to` (which checks every digest) and reads its disk with GNU tar.
 * @param wanted SHA-256 by name, \`raw\` and \`verbatim\`; \`holds\` says which it must be, "any" for either.
 * @param known a file that remembers what a layer, named by its digest, holds, so that the same bytes are unpacked once
 *   only.
 * @returns which it is, and the layer's path and digest.
 * @throws Stop when it is another disk, or the config names another diffID.
 */
export async function verifyImage(image, { to, holds, wanted, known, workshop }) {
  await workshop.run("skopeo", [
    "copy",
    "--quiet",
    "--insecure-policy",
    "--src-tls-verify=false",
    `docker://${image}`,
    `dir:${to}`,
  ]);
  const read = async (name) => JSON.parse(await readFile(join(to, name), "utf8"));
  const blob = (digest) => digest.replace(/^sha256:/, "");
  const manifest = await read("manifest.json");
  if (manifest.layers.length !== 1) throw new Stop(`${image} has ${manifest.layers.length} layers`);
  const digest = blob(manifest.layers[0].digest);
  const layer = join(to, digest);
  const { diffId, disk } = await digestsOf(layer, digest, known, workshop);
  const config = await read(blob(manifest.config.digest));
  if (config.rootfs.diff_ids[0] !== `sha256:${diffId}`)
    throw new Stop(`${image}: WRONG IMAGE: its config names another diffID than its layer has`);
  const found = Object.keys(wanted).find((name) => wanted[name] === disk);
  if (found === undefined || (holds !== "any" && wanted[holds] !== disk)) {
    throw new Stop(
      `${image}: WRONG IMAGE: its disk is ${disk} (${found ?? "no disk we know"}), not ` +
        `${wanted[holds] ?? "the raw or the original one"}`,
    );
  }
  return { found, layer, digest };
}

/** Files of digests that were read already, by path: cases that run side by side share what they learn. */
const remembered = new Map();

function recall(known) {
  if (!remembered.has(known)) remembered.set(known, existsSync(known) ? JSON.parse(readFileSync(known, "utf8")) : {});
  return remembered.get(known);
}

async function digestsOf(layer, digest, known, workshop) {
  const digests = recall(known);
  if (digests[digest] === undefined) {
    const directory = workshop.path(`unpacked-${digest.slice(0, 12)}`);
    await mkdir(directory);
    const env = { LAYER: layer, UNPACK: await unpackerOf(layer), DIRECTORY: directory };
    const { code, stdout, stderr } = await capture("bash", ["-euo", "pipefail", "-c", digestScript], { env });
    if (code !== 0) throw new Stop(`unpacking a layer: ${stderr}`);
    const [diffId, disk] = stdout.trim().split(" ");
    digests[digest] = { diffId, disk };
    writeFileSync(known, JSON.stringify(digests));
  }
  return digests[digest];
}

async function unpackerOf(layer) {
  const file = await open(layer);
  try {
    const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return { "1f8b": "pigz -dc", "28b5": "zstd -q -dc" }[buffer.toString("hex")] ?? "cat";
  } finally {
    await file.close();
  }
}
