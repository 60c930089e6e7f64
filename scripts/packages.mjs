/**
 * The Debian packages this project uses, by what needs them. Debian 12's names; nothing else is downloaded besides npm
 * packages. scripts/setup.mjs installs them.
 *
 *   node scripts/packages.mjs image    prints the list for one purpose; the Dockerfile uses it
 */
import { fail, isMain, Stop } from "./lib/process.mjs";

/** Compiling the native core, its tests and the addon. */
const build = [
  "cmake",
  "g++",
  "libarchive-dev",
  "libbz2-dev",
  "libdeflate-dev",
  "libexpat1-dev",
  "libgcrypt20-dev",
  "libgtest-dev",
  "libisal-dev",
  "liblzma-dev",
  "libsnappy-dev",
  "libssl-dev",
  "libzstd-dev",
  "ninja-build",
  "zlib1g-dev",
];

/** What a built addon loads at run time; the other codecs are linked into it. */
const run = ["libbz2-1.0", "libgcrypt20", "libisal2"];

/** The packages inside the container image: what Node and the addon load, and the CAs. */
const runtime = [
  "ca-certificates",
  "libbz2-1.0",
  "libc6",
  "libgcc-s1",
  "libgcrypt20",
  "libgpg-error0",
  "libisal2",
  "libstdc++6",
];

/** `npm run image`: the builder, and strip. */
const builder = ["binutils", "buildah"];

/** `npm run demo`: a registry, a disk to upload, and tools of others that judge the result. */
const demo = ["curl", "docker-registry", "e2fsprogs", "fdisk", "qemu-utils", "skopeo"];

/** `npm test`: more judges and more ways to write images. */
const test = [
  "bzip2",
  "chromium",
  "genisoimage",
  "iproute2",
  "kubernetes-client",
  "nginx-light",
  "openssl",
  "pigz",
  "prometheus",
  "sqlite3",
  "strace",
  "time",
  "umoci",
  "xz-utils",
  "zstd",
];

/** `npm run lint`. */
const lint = ["clang-format"];

/**
 * `npm run fuzz`: libFuzzer with its sanitizers (only recommended by clang), line coverage, the makers of its corpus.
 */
const fuzz = ["clang", "libclang-rt-14-dev", "llvm", "qemu-utils"];

/** `npm run bench`, also as part of CI: the alternatives, and what measures. */
const bench = [
  "buildah",
  "genisoimage",
  "iproute2",
  "isal",
  "libnbd-bin",
  "nbdkit",
  "nginx-light",
  "openssl",
  "pigz",
  "time",
  "util-linux",
  "xz-utils",
  "zstd",
];

/** `npm run bench -- --profile`. */
const profile = ["linux-perf"];

/** `npm run test:kubernetes`: what a node needs besides the parts that are unpacked and not installed. */
const kubernetes = [
  "ca-certificates",
  "containernetworking-plugins",
  "curl",
  "docker-registry",
  "iproute2",
  "iptables",
  "nginx-light",
  "openssl",
  "qemu-utils",
  "skopeo",
  "umoci",
  "util-linux",
];

const purposes = {
  image: [...build, ...run],
  runtime,
  builder: [...build, ...run, ...builder],
  demo: [...build, ...run, ...demo],
  test: [...build, ...run, ...demo, ...test, ...builder],
  bench: [...build, ...run, ...demo, ...bench, ...profile],
  ci: [...build, ...run, ...demo, ...test, ...builder, ...lint, ...bench, ...fuzz, ...kubernetes],
  fuzz: [...build, ...run, ...fuzz],
  kubernetes: [...build, ...run, ...builder, ...kubernetes],
};

/**
 * Packages of one command that others provide too, under names of their own and in conflict with Debian's: where the
 * command is there, the package is not missed.
 */
export const replaceable = { "kubernetes-client": "kubectl" };

/** Commands that stand for the packages above where there is no dpkg to ask. */
export const commands = {
  image: ["cmake", "g++", "ninja"],
  runtime: [],
  builder: ["cmake", "g++", "ninja", "strip", "buildah"],
  demo: ["cmake", "g++", "ninja", "curl", "docker-registry", "mke2fs", "sfdisk", "qemu-img", "skopeo"],
  test: [
    "cmake",
    "g++",
    "ninja",
    "curl",
    "docker-registry",
    "kubectl",
    "mke2fs",
    "qemu-img",
    "skopeo",
    "umoci",
    "xz",
    "zstd",
    "chromium",
  ],
  bench: ["cmake", "g++", "ninja", "curl", "docker-registry", "mke2fs", "sfdisk", "qemu-img", "skopeo", "time"],
  ci: [
    "cmake",
    "g++",
    "ninja",
    "curl",
    "docker-registry",
    "kubectl",
    "mke2fs",
    "qemu-img",
    "skopeo",
    "umoci",
    "clang-format",
    "clang++",
    "time",
    "chromium",
  ],
  fuzz: ["cmake", "clang++", "ninja"],
};

/** The purposes that packagesFor() and `setup --for=` know. */
export const purposeNames = Object.keys(purposes);

/** The packages for one purpose, sorted, each once. */
export function packagesFor(purpose) {
  if (!purposeNames.includes(purpose)) throw new Stop(`the purpose must be one of ${purposeNames.join(", ")}`, 2);
  return [...new Set(purposes[purpose])].sort();
}

function main() {
  process.stdout.write(`${packagesFor(process.argv[2]).join(" ")}\n`);
}

if (isMain(import.meta)) await Promise.resolve().then(main).catch(fail);
