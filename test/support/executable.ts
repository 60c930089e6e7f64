import { spawn, type ChildProcessByStdio } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

import { eventually, ownerUid } from "./pod.ts";
import { testUser, type TestRegistry } from "./registry.ts";

/** A pod's executable, started as the kubelet would: by path, with nothing but the pod's environment. */
export interface PodExecutable {
  readonly exit: Promise<number | null>;
  /** The fields of the log line with this text, once it comes. */
  logged(message: string): Promise<Record<string, unknown>>;
  signal(name: NodeJS.Signals): void;
  message(): Record<string, unknown>;
}

const nodeDirectory = fileURLToPath(new URL(".", `file://${process.execPath}`));

/**
 * Starts bin/NAME with `-v=3`; its termination log, scratch and metrics are its own. `wrapper` must end up being it by
 * exec.
 */
export function startExecutable(
  name: string,
  directory: string,
  environment: Readonly<Record<string, string>>,
  wrapper: readonly string[] = [],
): PodExecutable {
  const terminationLog = join(directory, `${name}-termination-log`);
  writeFileSync(terminationLog, "");
  const [command, ...args] = [...wrapper, fileURLToPath(new URL(`../../bin/${name}`, import.meta.url)), "-v=3"];
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: `${nodeDirectory}:/usr/bin:/bin`,
      OWNER_UID: ownerUid,
      DVCR_METRICS_PORT: "0",
      DVCR_TERMINATION_LOG: terminationLog,
      DVCR_SCRATCH_DIR: directory,
      ...environment,
    },
  });
  return observed(child, terminationLog);
}

/** Follows a pod process: its log, its end, its termination message. */
export function observed(child: ChildProcessByStdio<null, Readable, Readable>, terminationLog: string): PodExecutable {
  let log = "";
  let exited = false;
  child.stdout.setEncoding("utf8").on("data", (text: string) => (log += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  return {
    exit: new Promise((resolve, reject) => {
      child.on("error", reject).on("close", (code) => {
        exited = true;
        resolve(code);
      });
    }),
    logged: (message) =>
      eventually(() => {
        const line = log
          .split("\n")
          .slice(0, -1)
          .find((one) => one.includes(`"msg":"${message}"`));
        if (line === undefined && exited) throw new Error(`ended without "${message}":\n${log}`);
        return line === undefined ? undefined : (JSON.parse(line) as Record<string, unknown>);
      }),
    signal: (signal) => void child.kill(signal),
    message: () => JSON.parse(readFileSync(terminationLog, "utf8")) as Record<string, unknown>,
  };
}

/** A docker config.json with the registry's user, as the controller mounts it; gives its path. */
export function writeAuthConfig(directory: string, registry: TestRegistry): string {
  const path = join(directory, ".dockerconfigjson");
  const auth = Buffer.from(`${testUser.name}:${testUser.password}`).toString("base64");
  writeFileSync(
    path,
    JSON.stringify({ auths: { [registry.host]: { username: testUser.name, password: testUser.password, auth } } }),
  );
  return path;
}
