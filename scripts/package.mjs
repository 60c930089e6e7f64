/**
 * Builds what is released for machines without a compiler and without Node, from this checkout's build:
 *
 *   npm run package -- [--output=build/package] [--node=PATH]
 *
 *   dvcr_VERSION_ARCH.deb            for Debian 12 and its like: /usr/lib/dvcr, and the programs in /usr/bin
 *   dvcr-VERSION-linux-ARCH.tar.gz   unpacked anywhere: bin/dvcr runs in place; needs glibc 2.36 and libstdc++
 *   SHA256SUMS                       of both
 *
 * Node comes from npm's package of its release binaries unless --node names an executable. The architecture is this
 * machine's. The same commit and Node make the same bytes.
 */
import { createHash } from "node:crypto";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { unpackLibraries } from "./image-rootfs.mjs";
import { inRoot } from "./lib/paths.mjs";
import { capture, fail, isMain, Stop } from "./lib/process.mjs";
import { copyProgram, executables, mustRun } from "./lib/program.mjs";
import { releasedNode } from "./lib/released-node.mjs";
import { filesBelow } from "./lib/stamp.mjs";
import { setup } from "./setup.mjs";

const { version, description } = JSON.parse(readFileSync(inRoot("package.json"), "utf8"));
/** Debian's name of the architecture. */
const architecture = { x64: "amd64", arm64: "arm64" }[process.arch];
/** Shared libraries that the archive brings along, because machines seldom have them. */
const bundled = ["libbz2.so.1.0", "libgcrypt.so.20", "libgpg-error.so.0", "libisal.so.2"];
/** What the package leaves to Debian. */
const depends = ["libc6 (>= 2.36)", "libstdc++6", "libbz2-1.0", "libgcrypt20", "libisal2", "ca-certificates"];

/** The start of a program in the archive: finds Node next to it, through a symbolic link as well. */
const launcher = (name) => `#!/bin/sh
self=$0
if [ -L "$self" ]; then self=$(readlink -f "$self"); fi
home=\${self%/*}/../lib/dvcr
exec "$home/node" "$home/bin/${name}" "$@"
`;

/** Builds both packages and the list of their digests in `output`; returns the paths. `node`: the executable inside. */
export async function buildPackages({ output, node }) {
  if (architecture === undefined) throw new Stop(`there is no package for ${process.arch}: amd64 and arm64 are built`);
  const work = mkdtempSync(join(tmpdir(), "dvcr-package-"));
  try {
    mkdirSync(output, { recursive: true });
    const made = [await debianPackage(work, output, node), await archive(work, output, node)];
    const sums = made.map((path) => `${sha256(path)}  ${basename(path)}\n`).join("");
    writeFileSync(join(output, "SHA256SUMS"), sums);
    return [...made, join(output, "SHA256SUMS")];
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function debianPackage(work, output, node) {
  const root = join(work, "deb");
  await copyProgram(join(root, "usr/lib/dvcr"), "/usr/lib/dvcr/node");
  cpSync(node, join(root, "usr/lib/dvcr/node"), { dereference: true });
  mkdirSync(join(root, "usr/bin"));
  for (const name of executables) symlinkSync(`../lib/dvcr/bin/${name}`, join(root, "usr/bin", name));
  const documentation = join(root, "usr/share/doc/dvcr");
  mkdirSync(documentation, { recursive: true });
  renameSync(join(root, "usr/lib/dvcr/LICENSE"), join(documentation, "copyright"));
  cpSync(inRoot("CHANGELOG.md"), join(documentation, "CHANGELOG.md"));
  mkdirSync(join(root, "DEBIAN"));
  const size = filesBelow(root).reduce((sum, path) => sum + statSync(path).size, 0);
  const fields = {
    Package: "dvcr",
    Version: version,
    Architecture: architecture,
    Maintainer: "dvcr-data-plane maintainers <noreply@localhost>",
    "Installed-Size": Math.ceil(size / 1024),
    Depends: depends.join(", "),
    Section: "admin",
    Priority: "optional",
    Description: description,
  };
  const control = Object.entries(fields).map(([name, value]) => `${name}: ${value}\n`);
  writeFileSync(join(root, "DEBIAN/control"), control.join(""));
  await sameBytes(root);
  const path = join(output, `dvcr_${version}_${architecture}.deb`);
  await mustRun("env", "SOURCE_DATE_EPOCH=0", "dpkg-deb", "--root-owner-group", "-Zxz", "-z2", "--build", root, path);
  return path;
}

async function archive(work, output, node) {
  const name = `dvcr-${version}-linux-${architecture}`;
  const home = join(work, name, "lib/dvcr");
  await copyProgram(home, "/usr/bin/env node");
  cpSync(node, join(home, "node"), { dereference: true });
  const libraries = join(work, "libraries");
  await unpackLibraries(libraries);
  const into = join(home, "build/native/lib");
  mkdirSync(into);
  const found = readdirSync(libraries, { recursive: true });
  for (const library of bundled) {
    const path = found.find((one) => basename(one) === library);
    if (path === undefined) throw new Stop(`Debian's packages hold no ${library}`);
    cpSync(join(libraries, path), join(into, library), { dereference: true });
  }
  mkdirSync(join(work, name, "bin"));
  for (const program of executables) {
    writeFileSync(join(work, name, "bin", program), launcher(program), { mode: 0o755 });
  }
  for (const file of ["LICENSE", "README.md", "CHANGELOG.md"]) cpSync(inRoot(file), join(work, name, file));
  await sameBytes(join(work, name));
  const path = join(output, `${name}.tar.gz`);
  const owner = ["--owner=0", "--group=0", "--numeric-owner"];
  const still = ["--sort=name", "--mtime=@0", "--format=gnu", ...owner];
  await mustRun("tar", "-C", work, ...still, "-I", "gzip -6n", "-cf", path, name);
  return path;
}

/** Modes that do not depend on who has built it. */
const sameBytes = (root) => mustRun("chmod", "-R", "u=rwX,go=rX", root);

const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

async function main() {
  const { values } = parseArgs({
    options: { output: { type: "string", default: inRoot("build/package") }, node: { type: "string" } },
  });
  await setup({ purpose: "builder", quiet: true });
  if ((await capture("dpkg-deb", ["--version"])).code !== 0)
    throw new Stop("dpkg-deb is missing: this needs Debian", 2);
  const node = values.node ?? (await releasedNode(inRoot("build/package.log")));
  for (const path of await buildPackages({ output: resolve(values.output), node })) process.stdout.write(`${path}\n`);
}

if (isMain(import.meta)) await main().catch(fail);
