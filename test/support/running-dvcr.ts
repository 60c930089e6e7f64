import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const executable = fileURLToPath(new URL("../../bin/dvcr", import.meta.url));

/** A `dvcr` that runs while the test feeds it, watches it and sends it signals. */
export class RunningDvcr {
  readonly #child: ChildProcess;
  readonly #closed: Promise<number | null>;
  stdout = "";
  stderr = "";

  constructor(...args: string[]) {
    this.#child = spawn(executable, args, { stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stdout?.on("data", (data: Buffer) => (this.stdout += data.toString()));
    this.#child.stderr?.on("data", (data: Buffer) => (this.stderr += data.toString()));
    this.#child.stdin?.on("error", () => undefined);
    this.#closed = once(this.#child, "close").then(([code]) => code as number | null);
  }

  /** Its standard input. */
  get input(): NodeJS.WritableStream {
    return this.#child.stdin as NodeJS.WritableStream;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Its exit code, once its output is complete. */
  exit(): Promise<number | null> {
    return this.#closed;
  }
}

/** Waits for something to become true that no event tells of; fails when `dvcr` ended before. */
export async function until(dvcr: RunningDvcr, condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    if (!dvcr.running) throw new Error(`dvcr ended too early:\n${dvcr.stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
