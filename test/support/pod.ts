import { spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent, request } from "undici";
import type { PodSurroundings } from "../../src/process/pod-process.ts";

export const ownerUid = "5c6f2a3e-1b7d-4f0e-9a5c-0d1e2f3a4b5c";

/** A pod process within the test's own: real ports, real files, signals by emitter. */
export interface Pod {
  readonly directory: string;
  readonly ports: Readonly<Record<string, number>>;
  readonly exit: Promise<number>;
  readonly logLines: string[];
  signal(name: "SIGTERM" | "SIGINT"): void;
  /** The termination message, or nothing as long as there is none. */
  message(): Record<string, unknown> | undefined;
  scrape(): Promise<string>;
  /** Ends the process where it still runs and removes its files. */
  dispose(): Promise<void>;
}

export type PodMain = (environment: Record<string, string>, surroundings: PodSurroundings) => Promise<number>;

const metricsAgent = new Agent({ connect: { rejectUnauthorized: false } });

/** Starts `main` and resolves once every port in `waitFor` is listened on, or the process has ended. */
export async function startPod(
  main: PodMain,
  environment: Record<string, string>,
  waitFor: readonly string[],
): Promise<Pod> {
  const directory = mkdtempSync(join(tmpdir(), "dvcr-pod-"));
  const signals = new EventEmitter();
  const ports: Record<string, number> = {};
  const logLines: string[] = [];
  const terminationLog = join(directory, "termination-log");
  let ended = false;
  let ready: () => void;
  const listening = new Promise<void>((resolve) => {
    ready = resolve;
  });
  const exit = main(
    {
      OWNER_UID: ownerUid,
      DVCR_METRICS_PORT: "0",
      DVCR_TERMINATION_LOG: terminationLog,
      DVCR_SCRATCH_DIR: directory,
      ...environment,
    },
    {
      signals,
      logOutput: { write: (line: string) => void logLines.push(line) },
      onListening: (more) => {
        Object.assign(ports, more);
        if (waitFor.every((name) => name in ports)) ready();
      },
    },
  );
  void exit.then(() => {
    ended = true;
  });
  await Promise.race([listening, exit]);
  return {
    directory,
    ports,
    exit,
    logLines,
    signal: (name) => void signals.emit(name),
    message: () =>
      existsSync(terminationLog)
        ? (JSON.parse(readFileSync(terminationLog, "utf8")) as Record<string, unknown>)
        : undefined,
    scrape: async () => {
      const response = await request(`https://127.0.0.1:${ports["metrics"]!}/metrics`, { dispatcher: metricsAgent });
      return await response.body.text();
    },
    dispose: async () => {
      if (!ended) signals.emit("SIGTERM");
      await exit;
      rmSync(directory, { recursive: true });
    },
  };
}

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCommand {
  readonly done: Promise<Finished>;
  write(bytes: Uint8Array): Promise<void>;
  end(): void;
  kill(): void;
}

/** Starts a real command with a pipe as standard input. */
export function start(command: string, args: readonly string[]): RunningCommand {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // A server that answers early closes the pipe.
  child.stdin.on("error", () => undefined);
  return {
    done: new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code) => resolve({ code, stdout, stderr }));
    }),
    write: (bytes) => new Promise((resolve) => void child.stdin.write(bytes, () => resolve())),
    end: () => void child.stdin.end(),
    kill: () => void child.kill("SIGKILL"),
  };
}

/** Runs curl, quiet but for errors; `--noproxy` because the environment may name a proxy. */
export function curl(...args: string[]): RunningCommand {
  return start("curl", ["-sS", "--noproxy", "*", "--max-time", "50", ...args]);
}

/** Resolves when `check` gives something other than undefined or false; polls, since what it looks at has no event. */
export async function eventually<T>(check: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  const giveUpAt = Date.now() + 30_000;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > giveUpAt) throw new Error("did not happen within 30 s");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Sends a whole request before it looks at any answer, as simple clients do; gives the answer. */
export function sendThenRead(port: number, head: string, body: Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = "";
    const socket = connect(port, "127.0.0.1");
    socket
      .setEncoding("latin1")
      .on("data", (text: string) => (received += text))
      .pause();
    socket.write(head);
    socket.write(body, () => void socket.resume());
    // Whoever is answered while it still sends is reset then: what it has heard counts, be it nothing.
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "ECONNRESET") reject(error);
    });
    socket.on("close", () => resolve(received));
  });
}

/** Sends a request's head, and the body where one is given, and gives all that comes back until the server closes. */
export function rawRequest(port: number, head: string, body?: Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = "";
    const socket = connect(port, "127.0.0.1", () => {
      socket.write(head);
      if (body !== undefined) socket.write(body);
    });
    socket.setEncoding("latin1").on("data", (text: string) => (received += text));
    socket.on("error", reject).on("close", () => resolve(received));
  });
}
