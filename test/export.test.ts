/** `dvcr export`: what is on the disk is what qemu-img makes of the same image, whatever the destination is. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { makeRawDisk } from "./support/disks.ts";
import { tool } from "./support/tools.ts";

const dvcr = new URL("../bin/dvcr", import.meta.url).pathname;

let directory: string;
let raw: string;
let qcow2: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-export-"));
  raw = await makeRawDisk(join(directory, "disk.raw"), 24);
  // Neither a whole mebibyte nor a whole page.
  await truncate(raw, 24 * 2 ** 20 + 512);
  qcow2 = join(directory, "disk.qcow2");
  await tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, qcow2);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function exported(...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [dvcr, "export", "--quiet", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

describe("a file", () => {
  it("holds the disk, sparse, and the report says so", async () => {
    const path = join(directory, "out.img");
    const ended = await exported(qcow2, path, "--json");
    expect(ended).toMatchObject({ code: 0 });
    await tool("cmp", path, raw);
    const { blocks } = await stat(path);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      format: "raw",
      sourceFormat: "qcow2",
      virtualSize: 24 * 2 ** 20 + 512,
      allocatedBytes: blocks * 512,
    });
    expect(blocks).toBeLessThanOrEqual((await stat(raw)).blocks * 1.01);
  });

  it("that exists is kept without --force, and replaced with it", async () => {
    const path = join(directory, "kept.img");
    await writeFile(path, "mine");
    const refused = await exported(qcow2, path);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain("E_DISK_EXISTS");
    expect((await stat(path)).size).toBe(4);
    expect(await exported(qcow2, path, "--force")).toMatchObject({ code: 0 });
    await tool("cmp", path, raw);
  });

  it("grows to --size with zeros and is never cut", async () => {
    const path = join(directory, "grown.img");
    expect(await exported(qcow2, path, "--size", "32Mi")).toMatchObject({ code: 0 });
    expect((await stat(path)).size).toBe(32 * 2 ** 20);
    await tool("qemu-img", "compare", "-f", "raw", "-F", "raw", path, raw);
    const cut = await exported(qcow2, path, "--size", "1Mi", "--force");
    expect(cut.code).toBe(3);
    expect(cut.stderr).toContain("E_DISK_TOO_SMALL");
  });

  it("has no name where its checksum differs, and none under another name either", async () => {
    const wrong = "0".repeat(64);
    const ended = await exported(qcow2, join(directory, "wrong.img"), "--checksum", `sha256:${wrong}`);
    expect(ended.code).toBe(3);
    expect(ended.stderr).toContain("sha256 sum mismatch");
    expect((await readdir(directory)).filter((name) => name.startsWith("wrong"))).toEqual([]);
  });
});

it("standard output takes every byte in order, the report goes to standard error", async () => {
  const child = spawn(
    "bash",
    ["-c", `set -o pipefail; "${process.execPath}" "${dvcr}" export --quiet "${qcow2}" - | cmp - "${raw}"`],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const [code] = (await once(child, "close")) as [number | null];
  expect(code).toBe(0);
});

describe("a stored image", () => {
  let layout: string;
  let stored: Record<string, unknown>;
  const blobOf = (digest: unknown) => join(layout, "blobs/sha256", String(digest).replace("sha256:", ""));

  beforeAll(async () => {
    layout = join(directory, "layout");
    const imported = await tool(process.execPath, dvcr, "import", "--quiet", "--json", qcow2, `oci:${layout}:v1`);
    stored = JSON.parse(imported) as Record<string, unknown>;
  });

  it("is read out of a layout, with and without its tag, and the report names its parts", async () => {
    for (const [index, source] of [`oci:${layout}:v1`, `oci:${layout}`].entries()) {
      const path = join(directory, `stored-${String(index)}.img`);
      const ended = await exported(source, path, "--json", "--verify");
      expect(ended, ended.stderr).toMatchObject({ code: 0 });
      await tool("cmp", path, raw);
      const { manifestDigest, layerDigest, diffId } = stored;
      expect(JSON.parse(ended.stdout)).toMatchObject({ manifestDigest, layerDigest, diffId, isVerified: true });
    }
  });

  it("that is not there, or one of several without a tag, is refused", async () => {
    const missing = await exported(`oci:${layout}:v2`, join(directory, "missing.img"));
    expect(missing.code).toBe(3);
    expect(missing.stderr).toMatch(/^E_SOURCE_NOT_FOUND: image layout .*v2/);
    const several = join(directory, "several");
    for (const tag of ["a", "b"]) await tool("skopeo", "copy", "-q", `oci:${layout}:v1`, `oci:${several}:${tag}`);
    const ended = await exported(`oci:${several}`, join(directory, "missing.img"));
    expect(ended.code).toBe(2);
    expect(ended.stderr).toMatch(/^E_USAGE: .*holds 2 images: a, b/);
  });

  it("with a damaged config leaves no disk behind", async () => {
    const manifest = JSON.parse(await readFile(blobOf(stored["manifestDigest"]), "utf8")) as {
      config: { digest: string };
    };
    const path = blobOf(manifest.config.digest);
    const config = await readFile(path, "utf8");
    await writeFile(path, config.replace("linux", "linus"));
    const ended = await exported(`oci:${layout}:v1`, join(directory, "damaged.img"));
    await writeFile(path, config);
    expect(ended.code).toBe(3);
    expect(ended.stderr).toContain("does not match its digest");
    expect((await readdir(directory)).filter((name) => name.startsWith("damaged"))).toEqual([]);
  });
});

describe("qcow2", () => {
  it.each(["none", "zlib", "zstd"])("with compression %s is clean and holds the disk", async (compression) => {
    const path = join(directory, `out-${compression}.qcow2`);
    const flags = ["--format", "qcow2", "--compression", compression, "--size", "40Mi", "--verify"];
    expect(await exported(qcow2, path, ...flags)).toMatchObject({ code: 0 });
    await tool("qemu-img", "check", path);
    await tool("qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, raw);
    expect(JSON.parse(await tool("qemu-img", "info", "--output=json", path))).toMatchObject({
      "virtual-size": 40 * 2 ** 20,
    });
  });

  it("or --verify is refused to standard output", async () => {
    expect(await exported(qcow2, "-", "--verify")).toMatchObject({ code: 2 });
    expect(await exported(qcow2, "-", "--format", "qcow2")).toMatchObject({ code: 2 });
  });
});
