/** What is released runs in a root that holds nothing but the libraries it names: no Node, no compiler, no checkout. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { fileDigest, makeRawDisk, qemuConvert } from "../support/disks.ts";
import { umociDiskDigest } from "../support/pulled.ts";
import { temporaryDirectory, tool } from "../support/tools.ts";

const checkout = new URL("../..", import.meta.url);

let work: Awaited<ReturnType<typeof temporaryDirectory>>;
let packages: string;
let disk: string;
let digest: string;

beforeAll(async () => {
  work = await temporaryDirectory();
  packages = join(work.path, "packages");
  const flags = [`--output=${packages}`, `--node=${process.execPath}`];
  execFileSync(process.execPath, ["scripts/package.mjs", ...flags], {
    cwd: checkout,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const raw = await makeRawDisk(join(work.path, "disk.raw"), 8);
  disk = await qemuConvert(raw, join(work.path, "disk.qcow2"), "-c", "-O", "qcow2");
  digest = await fileDigest(raw);
}, 600_000);
afterAll(() => work[Symbol.asyncDispose]());

/** A root with Debian's packages of these names and nothing else. */
async function rootOf(name: string, ...debs: string[]): Promise<string> {
  const [downloads, root] = [join(work.path, `${name}-debs`), join(work.path, name)];
  await mkdir(downloads);
  await mkdir(root);
  await tool("sh", "-c", 'cd "$1" && shift && apt-get -q download "$@"', "download", downloads, ...debs);
  for (const file of await readdir(downloads)) await tool("dpkg-deb", "-x", join(downloads, file), root);
  for (const directory of ["dev", "proc", "tmp"]) await mkdir(join(root, directory), { recursive: true });
  await writeFile(join(root, "dev/null"), "");
  await cp(disk, join(root, "tmp/disk.qcow2"));
  return root;
}

/** Imports the disk inside `root` with the program at `path`; returns the digest of the disk that is stored then. */
async function importIn(root: string, path: string): Promise<string> {
  const variables = ["-i", "PATH=/usr/bin:/bin", "TMPDIR=/tmp"];
  const version = await tool("env", ...variables, "/usr/sbin/chroot", root, path, "--version");
  expect(version).toContain("0.1.0");
  await tool(
    "env",
    ...variables,
    "/usr/sbin/chroot",
    root,
    path,
    "import",
    "--quiet",
    "/tmp/disk.qcow2",
    "oci:/tmp/images:disk",
  );
  return umociDiskDigest(join(root, "tmp/images"), "disk", work.path);
}

describe("npm run package", () => {
  it("lists the SHA-256 of what it has built", async () => {
    const lines = (await readFile(join(packages, "SHA256SUMS"), "utf8")).trimEnd().split("\n");
    expect(lines).toHaveLength(2);
    for (const line of lines) {
      const [sum, name] = line.split("  ");
      const content = await readFile(join(packages, name ?? ""));
      expect(createHash("sha256").update(content).digest("hex"), name).toBe(sum);
    }
  });

  it("makes a .deb that names all it needs, and imports a disk once that is there", async () => {
    const deb = (await readdir(packages)).find((name) => name.endsWith(".deb")) ?? "";
    const depends = (await tool("dpkg-deb", "-f", join(packages, deb), "Depends"))
      .trim()
      .split(", ")
      .map((one) => one.split(" ")[0] ?? "");
    // What these need themselves: dpkg-deb unpacks and does not resolve.
    const root = await rootOf("deb", ...depends, "libgcc-s1", "libgpg-error0");
    await tool("dpkg-deb", "-x", join(packages, deb), root);
    expect(await importIn(root, "/usr/bin/dvcr")).toBe(digest);
  });

  it("makes an archive that runs where it is unpacked, through a link as well", async () => {
    const shell = ["dash", "coreutils", "libacl1", "libattr1", "libselinux1", "libpcre2-8-0"];
    const root = await rootOf("archive", ...shell, "libc6", "libgcc-s1", "libstdc++6");
    const archive = (await readdir(packages)).find((name) => name.endsWith(".tar.gz")) ?? "";
    await mkdir(join(root, "opt"));
    await tool("tar", "-C", join(root, "opt"), "-xf", join(packages, archive));
    const unpacked = `/opt/${archive.replace(".tar.gz", "")}/bin/dvcr`;
    expect(await importIn(root, unpacked)).toBe(digest);
    await symlink(unpacked, join(root, "usr/bin/dvcr"));
    expect(await tool("env", "-i", "PATH=/usr/bin:/bin", "/usr/sbin/chroot", root, "dvcr", "--version")).toContain(
      "0.1.0",
    );
  });
});
