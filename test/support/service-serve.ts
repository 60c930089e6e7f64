/** `dvcr serve` as a process of its own, on a port and a data directory of its own. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { RunningDvcr, until } from "./running-dvcr.ts";

export class ServeProcess implements AsyncDisposable {
  readonly url: string;
  readonly dataDirectory: string;
  #process: RunningDvcr;
  readonly #flags: readonly string[];
  readonly #isOurs: boolean;

  private constructor(
    dataDirectory: string,
    flags: readonly string[],
    process: RunningDvcr,
    url: string,
    isOurs = true,
  ) {
    this.#isOurs = isOurs;
    this.dataDirectory = dataDirectory;
    this.#flags = flags;
    this.#process = process;
    this.url = url;
  }

  /** Starts it with more flags than the listen address and the data directory; waits until it serves. */
  static async start(...flags: string[]): Promise<ServeProcess> {
    const dataDirectory = await mkdtemp(join(tmpdir(), "dvcr-serve-"));
    const process = run("127.0.0.1:0", dataDirectory, flags);
    return new ServeProcess(dataDirectory, flags, process, await urlOf(process));
  }

  /** Starts it on a data directory that stays when it ends. */
  static async on(dataDirectory: string, ...flags: string[]): Promise<ServeProcess> {
    const process = run("127.0.0.1:0", dataDirectory, flags);
    return new ServeProcess(dataDirectory, flags, process, await urlOf(process), false);
  }

  /** Ends it, by SIGTERM unless another signal is named, and waits for its end. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (this.#process.running) this.#process.signal(signal);
    await this.#process.exit();
  }

  /** Starts it again on the same port and data. */
  async startAgain(): Promise<void> {
    this.#process = run(new URL(this.url).host, this.dataDirectory, this.#flags);
    await urlOf(this.#process);
  }

  /** Sends a signal and goes on. */
  signal(name: NodeJS.Signals): void {
    this.#process.signal(name);
  }

  /** Everything that it has logged since it was started last. */
  get log(): string {
    return `${this.#process.stdout}\n${this.#process.stderr}`;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** A request to its API as JSON. */
  async json<T>(path: string, method = "GET", body?: unknown): Promise<T> {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${String(answer.status)} ${await answer.text()}`);
    return (await answer.json()) as T;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (this.#isOurs) await rm(this.dataDirectory, { recursive: true, force: true });
  }
}

function run(listen: string, dataDirectory: string, flags: readonly string[]): RunningDvcr {
  return new RunningDvcr("serve", "--listen", listen, "--data-dir", dataDirectory, ...flags);
}

/** From the log line that says that it serves. */
async function urlOf(process: RunningDvcr): Promise<string> {
  const found = (): string | undefined =>
    `${process.stdout}\n${process.stderr}`
      .split("\n")
      .filter((line) => line.startsWith("{") && line.endsWith("}"))
      .map((line) => JSON.parse(line) as { msg?: string; url?: string })
      .find(({ msg }) => msg === "serving")?.url;
  await until(process, () => found() !== undefined);
  return found()!;
}
