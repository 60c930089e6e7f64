/**
 * One run of one side, measured by the kernel and not by the side itself.
 *
 * GNU time starts the side, waits for it and prints what wait4() says of it and of every process it waited for: CPU
 * seconds, the largest resident set of any one process, and blocks dirtied in file systems. A process of the side
 * that nobody waits for would be missed; the sides are scripts that wait for all they start.
 */
import { spawn } from "node:child_process";
import { createWriteStream, readFileSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";

import { Stop, tail, toolPath } from "../../scripts/lib/process.mjs";

/** Bytes per block of ru_oublock. */
const blockSize = 512;
/** Ticks per second in /proc/PID/stat, the same on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** CPU seconds that the process `pid` and the children it waited for have used so far. */
export function cpuSeconds(pid) {
  const line = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is a name in brackets that may hold spaces.
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / ticksPerSecond;
}

/** Bytes that the loopback interface has received so far. */
export function loopbackBytes() {
  const line = readFileSync("/proc/net/dev", "utf8")
    .split("\n")
    .find((one) => one.trim().startsWith("lo:"));
  return line === undefined ? 0 : Number(line.split(":")[1].trim().split(/\s+/)[0]);
}

/** The environment that every side gets: nothing of ours but where tools and scratch are. */
export function cleanEnvironment(directory) {
  return { PATH: toolPath, HOME: directory, TMPDIR: directory, LANG: "C.UTF-8", LC_ALL: "C.UTF-8" };
}

/**
 * Runs `script` with bash in `directory` and measures it. `servers` (pids by name) are counted apart.
 * @param watch called with the pid of GNU time once the side runs; what it returns is closed with `stop()` at the end.
 * @param prefix a command that runs the rest, such as perf.
 * @returns seconds, bytes; the side's stdout.
 * @throws Stop with the log's tail when the side fails.
 */
export async function measure({ script, env = {}, directory, servers = {}, signal, watch, prefix = [] }) {
  const usage = join(directory, "usage");
  const log = join(directory, "side.log");
  const before = Object.fromEntries(Object.entries(servers).map(([name, pid]) => [name, cpuSeconds(pid)]));
  const network = loopbackBytes();
  const started = performance.now();
  const child = spawn(
    "/usr/bin/time",
    ["-q", "-f", "%U %S %M %O", "-o", usage, ...prefix, "bash", "-euo", "pipefail", "-c", script, "side"],
    {
      cwd: directory,
      env: { ...cleanEnvironment(directory), ...env },
      stdio: ["ignore", "pipe", "pipe"],
      signal,
      // A group of its own, so that all of it can be ended.
      detached: true,
    },
  );
  const sink = createWriteStream(log);
  child.stderr.pipe(sink);
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
  const watcher = watch?.(child.pid);
  const { code, wall } = await ended(child, started);
  const watched = await watcher?.stop();
  if (code !== 0) throw new Stop(`exit code ${String(code)}\n${stdout.slice(-2000)}${tail(log)}`);
  const [user, system, kilobytes, blocks] = (await readFile(usage, "utf8")).trim().split(" ").map(Number);
  await rm(usage);
  const cpu = { side: user + system };
  for (const [name, pid] of Object.entries(servers)) cpu[name] = cpuSeconds(pid) - before[name];
  return {
    stdout,
    watched,
    wall,
    cpu: cpu.side,
    user,
    system,
    registryCpu: cpu.registry ?? 0,
    originCpu: cpu.origin ?? 0,
    rss: kilobytes * 1024,
    scratch: blocks * blockSize,
    network: loopbackBytes() - network,
  };
}

function ended(child, started) {
  return new Promise((resolve, reject) => {
    let wall = 0;
    child.once("error", (error) => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // Nothing of it runs any more.
      }
      reject(error.name === "AbortError" ? (error.cause ?? error) : error);
    });
    // The end of the process counts, not that of our reading its output.
    child.once("exit", () => (wall = (performance.now() - started) / 1000));
    child.once("close", (code) => resolve({ code, wall }));
  });
}

/** True where the kernel counts what is written below `directory` (a tmpfs does not). */
export async function seesScratch(directory) {
  const { scratch } = await measure({ script: "head -c 1048576 /dev/zero > seen; rm seen", directory });
  return scratch >= 2 ** 20;
}
