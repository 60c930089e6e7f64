/** One real cluster of one node, in namespaces of its own: started, entered, and ended with nothing left of it. */
import { spawn } from "node:child_process";
import { createWriteStream, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { inRoot } from "./paths.mjs";
import { capture, Stop, tail, toolPath } from "./process.mjs";

/** How long a start may take, in milliseconds; it takes 5 to 16 s on two idle cores. */
const patience = 300_000;

export class Cluster {
  #unshare;
  #cgroups;

  /** @param parts `{kubeBin, debianRoot, images, apiFlags}`; `state` is a directory that is not on a tmpfs. */
  constructor(state, parts) {
    this.state = state;
    this.parts = parts;
    this.kubeconfig = join(state, "admin.kubeconfig");
  }

  /** The first process in the namespaces. */
  get init() {
    const { pid } = this.#unshare;
    return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0]);
  }

  /** Resolves when the node is ready and pods can start. */
  async start() {
    rmSync(this.state, { recursive: true, force: true });
    mkdirSync(this.state, { recursive: true });
    this.#cgroups = readFileSync("/proc/self/cgroup", "utf8");
    const { kubeBin, debianRoot, images, apiFlags = "" } = this.parts;
    const namespaces = ["--mount", "--net", "--pid", "--cgroup", "--ipc", "--uts", "--fork", "--kill-child"];
    const log = join(this.state, "node.log");
    const sink = createWriteStream(log);
    const child = spawn(
      "unshare",
      [...namespaces, "--mount-proc", "--propagation", "private", inRoot("test/kubernetes/cluster/node.sh")],
      {
        stdio: ["ignore", "pipe", "pipe"],
        env: {
          HOME: process.env["HOME"] ?? "/root",
          PATH: toolPath,
          STATE: this.state,
          KUBE_BIN: kubeBin,
          DEBIAN_ROOT: debianRoot,
          IMAGES: images.join(" "),
          API_FLAGS: apiFlags,
        },
      },
    );
    this.#unshare = child;
    child.stderr.pipe(sink, { end: false });
    child.stdout.pipe(sink, { end: false });
    await new Promise((resolve, reject) => {
      const fail = (why) => reject(new Stop(`the cluster did not start (${why}); the end of ${log}:\n${tail(log)}`));
      const timer = setTimeout(fail, patience, `not ready after ${patience / 1000} s`);
      child.once("error", (error) => fail(error.message));
      child.once("exit", (code) => fail(`exit code ${code}`));
      child.stdout.setEncoding("utf8").on("data", (text) => {
        if (!text.includes("cluster ready")) return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** The command prefix that runs something in the cluster's network, with the machine's own files. */
  inNetwork() {
    return ["nsenter", "--target", String(this.init), "--net", "--"];
  }

  /** Ends everything and removes control groups, loop devices and files. Returns what could not be removed. */
  async stop() {
    const child = this.#unshare;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.removeAllListeners("exit");
      child.once("exit", () => undefined);
      try {
        // The first process of a PID namespace takes all others with it.
        process.kill(this.init, "SIGKILL");
      } catch {
        child.kill("SIGKILL");
      }
      await Promise.race([gone, new Promise((resolve) => setTimeout(resolve, 20_000))]);
    }
    await detachLoops(this.state);
    const left = removeCgroups(this.#cgroups ?? "");
    rmSync(this.state, { recursive: true, force: true, maxRetries: 5 });
    return left;
  }
}

/** Detaches the loop devices whose files lie below `directory`. */
async function detachLoops(directory) {
  const { stdout } = await capture("losetup", ["--list", "--noheadings", "--output", "NAME,BACK-FILE"]);
  for (const line of stdout.split("\n")) {
    const [device, file] = line.trim().split(/\s+/);
    if (file?.startsWith(directory)) await capture("losetup", ["--detach", device]);
  }
}

/** Removes the empty control groups that kubelet and containerd made below ours; returns those that stay. */
function removeCgroups(own) {
  const left = [];
  for (const line of own.trim().split("\n")) {
    const [, controllers = "", path = "/"] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const mounts = controllers === "" ? ["/sys/fs/cgroup"] : [`/sys/fs/cgroup/${controllers.replace("name=", "")}`];
    for (const mount of mounts) {
      for (const name of ["kubepods", "k8s.io"]) {
        for (const at of new Set([join(mount, path, name), join(mount, name)])) {
          if (existsSync(at) && !removeTree(at)) left.push(at);
        }
      }
    }
  }
  return left;
}

/** Control groups are removed by rmdir alone, innermost first; their files go with them. */
function removeTree(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(directory, entry.name));
  try {
    rmdirSync(directory);
    return true;
  } catch {
    return false;
  }
}
