/**
 * Lays out the root of the container image in a directory: Node, the shared libraries that Node and the addon load, the
 * compiled program with its production dependencies, and the places that Kubernetes mounts to. Nothing else: no shell.
 *
 *   node scripts/image-rootfs.mjs --node=PATH DIRECTORY
 *
 * Needs the build (`npm run build`), node_modules as package-lock.json asks for, and apt-get with package lists.
 */
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";

import { packagesFor } from "./packages.mjs";
import { fail, isMain, Stop } from "./lib/process.mjs";
import { copyProgram, executables, mustRun } from "./lib/program.mjs";
import { filesBelow } from "./lib/stamp.mjs";

/** Executables by the paths that the platform's controller names. */
const platformPaths = { "usr/bin/pvc-importer": "dvcr-pvc-importer" };
const mountPoints = [
  ...["dvcr-src-auth", "dvcr-auth", "certs", "proxycerts", "data", "scratch", "shared"],
  ...["dev", "proc", "sys"],
];
const user = 64535;

/** What of Debian's packages no process of ours reads. */
const unread = [
  "usr/share/ca-certificates",
  "usr/share/gcc",
  "usr/share/gdb",
  "usr/share/lintian",
  "usr/share/locale",
  "usr/share/man",
  "usr/sbin",
  "etc/ca-certificates",
];

/** Lays out `target`, which must not exist or be empty. `node`: the Node executable that goes in. */
export async function layOutRootfs(target, node) {
  mkdirSync(target, { recursive: true });
  if (readdirSync(target).length > 0) throw new Stop(`${target} is not empty`, 2);
  await unpackLibraries(target);
  writeSystemFiles(target);
  await copyProgram(join(target, "opt/dvcr"), "/usr/local/bin/node");
  const bin = join(target, "usr/local/bin");
  mkdirSync(bin, { recursive: true });
  cpSync(node, join(bin, "node"), { dereference: true });
  for (const name of executables) symlinkSync(`/opt/dvcr/bin/${name}`, join(bin, name));
  for (const [path, name] of Object.entries(platformPaths)) {
    mkdirSync(dirname(join(target, path)), { recursive: true });
    symlinkSync(`/opt/dvcr/bin/${name}`, join(target, path));
  }
}

/**
 * Unpacks the shared libraries and CAs that Node and the addon need below `target`: Debian's packages as they are,
 * without what is never read; scanners find them in /var/lib/dpkg/status.d.
 */
export async function unpackLibraries(target) {
  const directory = mkdtempSync(join(tmpdir(), "dvcr-debs-"));
  try {
    const script =
      'cd "$1" && shift && { apt-get -q download "$@" || { apt-get -q update && apt-get -q download "$@"; }; }';
    await mustRun("sh", "-c", script, "download", directory, ...packagesFor("runtime"));
    const status = join(target, "var/lib/dpkg/status.d");
    mkdirSync(status, { recursive: true });
    for (const file of readdirSync(directory)) {
      const archive = join(directory, file);
      await mustRun("dpkg-deb", "-x", archive, target);
      writeFileSync(join(status, file.split("_")[0]), await mustRun("dpkg-deb", "-f", archive));
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  writeCertificateBundle(target);
  for (const path of unread) rmSync(join(target, path), { recursive: true, force: true });
  for (const path of filesBelow(join(target, "usr/share/doc"))) if (!path.endsWith("/copyright")) rmSync(path);
  for (const library of ["lib", "usr/lib"]) {
    for (const name of ["gconv", "audit"])
      rmSync(join(target, library, multiarch(), name), { recursive: true, force: true });
  }
}

const multiarch = () => ({ x64: "x86_64-linux-gnu", arm64: "aarch64-linux-gnu" })[process.arch] ?? "";

/** What the package's own script would make; its tools are not in the image. */
function writeCertificateBundle(target) {
  const authorities = filesBelow(join(target, "usr/share/ca-certificates")).filter((path) => path.endsWith(".crt"));
  if (authorities.length === 0) throw new Stop("the package ca-certificates holds no certificate");
  mkdirSync(join(target, "etc/ssl/certs"), { recursive: true });
  writeFileSync(
    join(target, "etc/ssl/certs/ca-certificates.crt"),
    authorities.map((path) => readFileSync(path, "utf8").trimEnd()).join("\n") + "\n",
  );
}

function writeSystemFiles(target) {
  for (const name of mountPoints) mkdirSync(join(target, name));
  mkdirSync(join(target, "tmp"));
  chmodSync(join(target, "tmp"), 0o1777);
  const write = (name, text) => writeFileSync(join(target, "etc", name), text);
  write("passwd", `root:x:0:0::/:/nonexistent\ndvcr:x:${user}:${user}::/:/nonexistent\n`);
  write("group", `root:x:0:\ndvcr:x:${user}:\n`);
  write("nsswitch.conf", "hosts: files dns\n");
  write("os-release", readFileSync("/etc/os-release"));
}

async function main() {
  const { values, positionals } = parseArgs({ options: { node: { type: "string" } }, allowPositionals: true });
  if (values.node === undefined || positionals.length !== 1)
    throw new Stop("usage: node scripts/image-rootfs.mjs --node=PATH DIRECTORY", 2);
  await layOutRootfs(positionals[0], values.node);
}

if (isMain(import.meta)) await main().catch(fail);
