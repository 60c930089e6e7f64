/**
 * The parts of a real Kubernetes for `npm run test:kubernetes`, kept outside the checkout under names that hold a
 * digest of what they were made from: one Go executable with kube-apiserver, controller manager, scheduler, kubelet,
 * kube-proxy and kubectl; Debian's etcd, containerd and runc, unpacked and never installed (their packages would start
 * daemons); and the sandbox image of pods.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

import { inRoot } from "./paths.mjs";
import { capture, findCommand, run, Stop } from "./process.mjs";
import { filesBelow, keyOf } from "./stamp.mjs";

const parts = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"];
const debianParts = ["etcd-server", "containerd", "runc"];
/** What the Go modules of Kubernetes 1.36 ask for. */
const oldestGo = [1, 26];

/** The cache that all checkouts of this machine share. */
export const cacheDirectory = () =>
  join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "dvcr-data-plane", "kubernetes");

/** Stops with exit code 2 and one line where no cluster can be started here. */
export async function requireKubernetesTools() {
  if (process.getuid?.() !== 0)
    throw new Stop("npm run test:kubernetes needs root: it makes network, mount and process namespaces", 2);
  const { code, stdout } = await capture("go", ["env", "GOVERSION"]);
  const version = /^go(\d+)\.(\d+)/.exec(stdout)?.slice(1).map(Number);
  if (code !== 0 || version === undefined || version[0] < oldestGo[0] || version[1] < oldestGo[1]) {
    const found = code === 0 ? stdout.trim() : "no go in PATH";
    throw new Stop(`npm run test:kubernetes needs Go ${oldestGo.join(".")} to build Kubernetes; found: ${found}`, 2);
  }
}

/** Builds `make` into a new directory of the cache unless one with this key is there; returns its path. */
async function cached(name, key, make) {
  const target = join(cacheDirectory(), `${name}-${key.slice(0, 16)}`);
  if (existsSync(target)) return target;
  mkdirSync(dirname(target), { recursive: true });
  const fresh = mkdtempSync(`${target}.`);
  try {
    await make(fresh);
    renameSync(fresh, target);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  }
  return target;
}

/** The directory with `kube` and a link for each of its parts. A first build takes some eight CPU minutes. */
export async function kubernetesExecutables(log) {
  const module = inRoot("test/kubernetes/binary");
  return cached("kube", keyOf(filesBelow(module), [process.arch]), async (directory) => {
    const version = /k8s\.io\/kubernetes (v\S+)/.exec(readFileSync(join(module, "go.mod"), "utf8"))[1];
    const [major, minor] = version.slice(1).split(".");
    // Without these the executable calls itself v0.0.0-master, and clients believe it.
    const facts = { gitVersion: version, gitMajor: major, gitMinor: minor, gitTreeState: "archive" };
    const flags = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].flatMap((name) =>
      Object.entries({ ...facts, gitCommit: "unknown", buildDate: "1970-01-01T00:00:00Z" }).map(
        ([field, value]) => `-X ${name}.${field}=${value}`,
      ),
    );
    const linker = ["-s", "-w", ...flags].join(" ");
    const args = ["build", "-trimpath", "-ldflags", linker, "-o", join(directory, "kube"), "."];
    await run("go", args, { cwd: module, env: { CGO_ENABLED: "0" }, log });
    for (const part of parts) symlinkSync("kube", join(directory, part));
  });
}

/** The directory in which Debian's etcd, containerd and runc are unpacked. */
export async function debianExecutables(log) {
  const { stdout } = await capture("apt-cache", ["show", "--no-all-versions", ...debianParts]);
  const versions = stdout.match(/^(?:Package|Version|SHA256): .*$/gm) ?? [];
  return cached("debian", keyOf([], versions), async (directory) => {
    const user = ["-o", "APT::Sandbox::User=root"];
    await run("apt-get", [...user, "download", ...debianParts], { cwd: directory, log });
    for (const name of readdirSync(directory).filter((name) => name.endsWith(".deb"))) {
      await run("dpkg-deb", ["-x", join(directory, name), directory], { log });
      rmSync(join(directory, name));
    }
  });
}

/** The archive `pause.tar`: `localhost/pause:1`, an image from scratch whose one process reaps the pod's orphans. */
export async function pauseImage(log) {
  const source = inRoot("test/kubernetes/pause/pause.c");
  const directory = await cached("pause", keyOf([source], [process.arch]), async (at) => {
    const step = (command, ...args) => run(command, args, { cwd: at, log });
    mkdirSync(join(at, "rootfs"));
    await step("gcc", "-Os", "-static", "-s", "-o", "rootfs/pause", source);
    await step("umoci", "init", "--layout", "layout");
    await step("umoci", "new", "--image", "layout:1");
    await step("umoci", "insert", "--image", "layout:1", "rootfs/pause", "/pause");
    const architecture = process.arch === "x64" ? "amd64" : process.arch;
    const config = ["--config.entrypoint", "/pause", "--architecture", architecture, "--os", "linux"];
    await step("umoci", "config", "--image", "layout:1", ...config);
    await step("skopeo", "copy", "-q", "oci:layout:1", "oci-archive:pause.tar:localhost/pause:1");
  });
  return join(directory, "pause.tar");
}

/** The sandbox's command that is missing, for a clear line before anything starts. */
export const missingCommands = () =>
  ["unshare", "nsenter", "ip", "iptables", "umoci", "skopeo", "gcc", "dpkg-deb"].filter(
    (name) => findCommand(name) === undefined,
  );
