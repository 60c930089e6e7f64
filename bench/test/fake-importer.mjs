#!/usr/bin/env node
/**
 * An importer as an outsider may give one in BENCH_IMPORTER: it stores what it downloads as it is, in one layer that is
 * not compressed. What the harness must see of it is set by FAKE_SCRATCH and FAKE_MEMORY (bytes), FAKE_DAMAGE (a byte
 * is changed) and FAKE_EXIT (an exit code instead of an image).
 */
import { createHash } from "node:crypto";
import { unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";

import { pack as packTar } from "tar-stream";

const { IMPORTER_ENDPOINT: source, IMPORTER_DESTINATION_ENDPOINT: destination, TMPDIR: scratch } = process.env;
const number = (name) => Number(process.env[name] ?? "0");

if (process.env["FAKE_EXIT"] !== undefined) {
  process.stderr.write("the fake importer was told to fail\n");
  process.exit(number("FAKE_EXIT"));
}

const [, host, repository, tag] = /^([^/]+)\/(.+):([^:]+)$/.exec(destination);
const base = `http://${host}/v2/${repository}`;
const digestOf = (bytes) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

async function put(url, body, type) {
  const answer = await fetch(url, { method: "PUT", body, headers: { "content-type": type } });
  if (!answer.ok) throw new Error(`PUT ${url}: ${answer.status}`);
}

async function pushBlob(bytes) {
  const started = await fetch(`${base}/blobs/uploads/`, { method: "POST" });
  await put(`${started.headers.get("location")}&digest=${digestOf(bytes)}`, bytes, "application/octet-stream");
  return { digest: digestOf(bytes), size: bytes.length };
}

const image = Buffer.from(await (await fetch(source)).arrayBuffer());
if (process.env["FAKE_DAMAGE"] !== undefined) image[image.length >> 1] ^= 1;

const ballast = Buffer.alloc(number("FAKE_MEMORY"), 1);
const file = join(scratch, "scratch");
writeFileSync(file, Buffer.alloc(number("FAKE_SCRATCH"), 1));
unlinkSync(file);

const tar = packTar();
tar.entry({ name: "disk/", type: "directory" });
tar.entry({ name: "disk/disk.img" }, image);
tar.finalize();
const layer = await buffer(tar);
const config = Buffer.from(
  JSON.stringify({
    architecture: "amd64",
    os: "linux",
    config: {},
    rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
  }),
);
const oci = "application/vnd.oci.image";
const manifest = {
  schemaVersion: 2,
  mediaType: `${oci}.manifest.v1+json`,
  config: { mediaType: `${oci}.config.v1+json`, ...(await pushBlob(config)) },
  layers: [{ mediaType: `${oci}.layer.v1.tar`, ...(await pushBlob(layer)) }],
};
await put(`${base}/manifests/${tag}`, JSON.stringify(manifest), manifest.mediaType);
process.stdout.write(`stored ${image.length} of ${ballast.length}\n`);
