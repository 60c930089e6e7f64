import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdtemp, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { run, Stop, tail, toolPath } from "./process.mjs";

/** How long a process may take to end after SIGTERM, in milliseconds. */
const patience = 5_000;

/** A temporary directory and the processes started in it. close() leaves neither, whatever happened. */
export class Workshop {
  #processes = [];

  /**
   * @param signal ends what runs in the workshop, with its reason.
   * @param parent the directory it is made in, with at least `space` bytes free.
   */
  static async open(signal, { parent = tmpdir(), space = 2 * 2 ** 30 } = {}) {
    const { bavail, bsize } = await statfs(parent);
    if (bavail * bsize < space) {
      throw new Stop(
        `${parent} has less than ${Math.ceil(space / 2 ** 30)} GiB free: set TMPDIR to a directory that has`,
        2,
      );
    }
    const workshop = new Workshop();
    workshop.signal = signal;
    workshop.directory = await mkdtemp(join(parent, "dvcr-workshop-"));
    workshop.log = join(workshop.directory, "steps.log");
    return workshop;
  }

  path(...parts) {
    return join(this.directory, ...parts);
  }

  /** Runs a command to its end; its output goes to the steps' log. */
  run(command, args, options = {}) {
    return run(command, args, { log: this.log, signal: this.signal, ...options });
  }

  /** Starts a server whose output goes to NAME.log; `env` is its whole environment besides PATH and HOME. */
  start(name, command, args, env = {}) {
    const log = this.path(`${name}.log`);
    const sink = createWriteStream(log);
    const home = { PATH: toolPath, HOME: process.env["HOME"] ?? "/" };
    const child = spawn(command, args, { cwd: "/", env: { ...home, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    const server = { name, log, child, ended: undefined, onLine: undefined };
    for (const stream of [child.stdout, child.stderr]) {
      stream.pipe(sink, { end: false });
      stream.setEncoding("utf8");
    }
    server.exit = new Promise((resolve) => {
      child.once("error", (error) => resolve({ reason: error.message }));
      child.once("close", (code, signal) =>
        resolve({ code, reason: signal ? `ended by ${signal}` : `exit code ${code}` }),
      );
    }).then((outcome) => (server.ended = outcome));
    this.#processes.push(server);
    return server;
  }

  /** Asks `ask` again until it gives something; stops when the server ends or `seconds` are over. */
  async until(server, what, seconds, ask) {
    const deadline = performance.now() + seconds * 1000;
    for (;;) {
      this.signal.throwIfAborted();
      const answer = await ask();
      if (answer !== undefined) return answer;
      if (server.ended)
        throw new Stop(`${server.name} stopped before ${what} (${server.ended.reason}):\n${tail(server.log)}`);
      if (performance.now() > deadline)
        throw new Stop(`${what} did not come within ${seconds} s:\n${tail(server.log)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Ends all processes, the last one first, and removes the directory. */
  async close() {
    for (const server of this.#processes.reverse()) {
      if (server.ended) continue;
      server.child.kill("SIGTERM");
      const timer = setTimeout(() => server.child.kill("SIGKILL"), patience);
      await server.exit;
      clearTimeout(timer);
    }
    await rm(this.directory, { recursive: true, force: true });
  }
}
