import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ImportReport } from "../src/pipeline/import-image.ts";
import { addon } from "../src/native/addon.ts";
import { dvcrImport, dvcrImportWith } from "./support/cli.ts";
import { makeRawDisk, qemuConvert } from "./support/disks.ts";
import { nodeOf, otherNodes } from "./support/nodes.ts";
import { tool } from "./support/tools.ts";

let directory: string;
let raw: string;
let qcow2: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-digests-"));
  raw = await makeRawDisk(join(directory, "disk.raw"), 48);
  qcow2 = await qemuConvert(raw, join(directory, "disk.qcow2"), "-O", "qcow2", "-c");
});

afterAll(() => rm(directory, { recursive: true, force: true }));

const layout = (tag: string) => `oci:${join(directory, "layout")}:${tag}`;
const digestsOf = ({ diffId, layerDigest, manifestDigest }: ImportReport) => ({ diffId, layerDigest, manifestDigest });

/** Imports from a pipe into which the file is written in small pieces, with a pause after each megabyte. */
async function pacedImport(path: string, tag: string): Promise<ImportReport> {
  const feed = spawn(
    "sh",
    [
      "-c",
      'size=$(stat -c %s "$1"); at=0; while [ $at -lt $size ]; do tail -c +$((at + 1)) "$1" | ' +
        "head -c 1048576 | dd bs=7777 status=none; at=$((at + 1048576)); sleep 0.05; done",
      "sh",
      path,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  return await dvcrImportWith({ stream: feed.stdout }, "-", layout(tag));
}

describe("the digests of an import", () => {
  it.each(["gzip", "zstd", "none"])("are the same on one core and on two, %s", async (compression) => {
    const one = await dvcrImportWith(
      { wrapper: ["taskset", "-c", "0"] },
      qcow2,
      layout(`one-${compression}`),
      "--compression",
      compression,
    );
    const two = await dvcrImportWith(
      { wrapper: ["taskset", "-c", "0,1"] },
      qcow2,
      layout(`two-${compression}`),
      "--compression",
      compression,
    );
    expect(digestsOf(one)).toEqual(digestsOf(two));
  });

  it("are the same whether the bytes come fast or slowly", async () => {
    const fast = await dvcrImport(qcow2, layout("fast"));
    expect(digestsOf(await pacedImport(qcow2, "slow"))).toEqual(digestsOf(fast));
    const rawFast = await dvcrImport(raw, layout("raw-fast"));
    const rawSlow = await pacedImport(raw, "raw-slow");
    expect(rawSlow.sizeFrom).toBe("counted");
    expect(digestsOf(rawSlow)).toEqual(digestsOf(rawFast));
  });

  it.each(otherNodes)("are the same on Node %s", { timeout: 300_000 }, async (version) => {
    const node = await nodeOf(version);
    expect((await tool(node, "--version")).trim()).toBe(`v${version}`);
    for (const compression of ["gzip", "zstd", "none"]) {
      const here = await dvcrImport(qcow2, layout(`here-${compression}`), "--compression", compression);
      const there = await dvcrImportWith(
        { wrapper: [node] },
        qcow2,
        layout(`there-${compression}`),
        "--compression",
        compression,
      );
      expect(digestsOf(there)).toEqual(digestsOf(here));
    }
  });
});

/**
 * What this very disk has always become. A difference means that layers stored before are not found again: a codec was
 * upgraded or a rule of the layer changed, which needs a new encoder id beside new values here.
 */
const golden = {
  gzip: {
    encoder: "gzip:isal-2.30.0:1:1MiB:r1",
    layer: "sha256:be0d443d56e1b955b6f2187ca8002db753df7cc369b33471dcca6152aa69dd03",
    config: "sha256:f1fcb982117a9822034add3c8d2473cf811363561318787ec09d2f6c29daaa8b",
    manifest: "sha256:b9e4c68c5a131a669a7adddad573816cc0f81498b2b4cec55e81a3961367252e",
    configDated: "sha256:66034e13c8776a1f850d819a4e7b04b5bf0891f628bbcc1060650234db22c5f6",
    manifestDated: "sha256:0547223ea033b73d3ad4565d0be705e9077be6571a5b264b2b2385075d9772ff",
  },
  zstd: {
    encoder: "zstd:1.5.4:1:1MiB:r2",
    layer: "sha256:e9c906aae85fddb6e6d073bc9145cfcad051a558b0dbd3ad4f802b92a53edd2f",
    config: "sha256:37342519dcb799479f5f9250b281b0bdfacbc08f78b82a772a10096b7f49fd79",
    manifest: "sha256:72ebbc0d5541ae6370140602e112c63c257f8c554e7e92a25e9e79bffd578278",
    configDated: "sha256:12f2b2af27accbef5f05bb8f21cf1d6fe8156e170b402b8341546d17548d518d",
    manifestDated: "sha256:6a28a951bd64768c5160af29b1ef1d1daa5baa0a294fe14d4bd4d9660081c0f8",
  },
  none: {
    encoder: "none",
    layer: "sha256:e05eb1274272f441f63426ac43fce4567a637abde9ed35fd158c5768ee0a868e",
    config: "sha256:27d562b60e481e961f84195133fa26ce8edac8d741ca9ac00c0393e94c4b2e5b",
    manifest: "sha256:a8744fc879b3716fc4161cb2f04b4f40855a5861ab18f1bcefe8a8a12ce746b8",
    configDated: "sha256:e229085269f57d4d6c5f2cff727bb232f37a15cb207425bb2a138823b82d3036",
    manifestDated: "sha256:63d27acc169e0dba39169ac6b0814b8b950c2c3db39002214c42ebd2ebfb34b0",
  },
} as const;

/** Manifest and config of an image in the layout. */
async function stored(manifestDigest: string): Promise<{ config: string; created: unknown }> {
  const blob = async (digest: string) =>
    JSON.parse(await readFile(join(directory, "layout/blobs", digest.replace(":", "/")), "utf8")) as Record<
      string,
      unknown
    >;
  const { config } = (await blob(manifestDigest)) as { config: { digest: string } };
  return { config: config.digest, created: (await blob(config.digest))["created"] };
}

describe("golden digests", () => {
  it.each(["gzip", "zstd", "none"] as const)(
    "%s: layer, config and manifest of a known disk, with and without SOURCE_DATE_EPOCH",
    async (compression) => {
      const plain = await dvcrImportWith(
        { env: { SOURCE_DATE_EPOCH: "" } },
        raw,
        layout(`golden-${compression}`),
        "--compression",
        compression,
      );
      const dated = await dvcrImportWith(
        { env: { SOURCE_DATE_EPOCH: "1700000000" } },
        raw,
        layout(`dated-${compression}`),
        "--compression",
        compression,
      );
      const [plainStored, datedStored] = [await stored(plain.manifestDigest), await stored(dated.manifestDigest)];
      expect([plainStored.created, datedStored.created]).toEqual(["1970-01-01T00:00:00Z", "2023-11-14T22:13:20Z"]);
      expect(dated.layerDigest).toBe(plain.layerDigest);
      expect({
        encoder: addon.encoderId(compression),
        layer: plain.layerDigest,
        config: plainStored.config,
        manifest: plain.manifestDigest,
        configDated: datedStored.config,
        manifestDated: dated.manifestDigest,
      }).toEqual(golden[compression]);
    },
  );
});

/** What the codec libraries call themselves inside a given Node. */
async function versionsIn(node: string): Promise<{ addon: Record<string, string>; node: NodeJS.ProcessVersions }> {
  const path = fileURLToPath(new URL("../build/native/dvcr.node", import.meta.url));
  const script =
    `process.stdout.write(JSON.stringify({ addon: require(${JSON.stringify(path)}).libraryVersions(), ` +
    "node: process.versions }))";
  return JSON.parse(await tool(node, "-e", script)) as { addon: Record<string, string>; node: NodeJS.ProcessVersions };
}

describe("the libraries that answer", () => {
  it.each(["this Node", ...otherNodes])(
    "in %s are our own, and Node's where they are meant to be",
    { timeout: 300_000 },
    async (which) => {
      const versions = await versionsIn(which === "this Node" ? process.execPath : await nodeOf(which));
      expect(versions.addon).toMatchObject({
        liblzma: expect.stringMatching(/^5\.([4-9]|\d\d)\./) as string,
        // Linked statically: Node has had another one of its own since 22.15.
        libzstd: "1.5.4",
        "isa-l": "2.30.0",
        openssl: versions.node.openssl.replace(/\+.*/, ""),
        // Node adds its revision; Debian's, which the addon was linked against, is 1.2.
        zlib: versions.node.zlib.split("-")[0],
      });
      if (versions.node["zstd"] !== undefined) expect(versions.node["zstd"]).not.toBe(versions.addon["libzstd"]);
    },
  );
});
