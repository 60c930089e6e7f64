import { spawn } from "node:child_process";
import { accessSync, constants, createWriteStream, mkdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** PATH with the directories of administration tools (mke2fs, sfdisk), which a plain user's PATH lacks on Debian. */
export const toolPath = [process.env["PATH"] ?? "", "/usr/local/sbin", "/usr/sbin", "/sbin"].join(delimiter);

/** An error whose message is meant for the person at the terminal; `code` becomes the exit code. */
export class Stop extends Error {
  constructor(message, code = 1) {
    super(message);
    this.code = code;
  }
}

/** The full path of `command`, or nothing. */
export function findCommand(command) {
  for (const directory of toolPath.split(delimiter)) {
    const path = join(directory, command);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      // Not here: look in the next directory.
    }
  }
  return undefined;
}

/**
 * Runs a command to its end. With `log` (a path) its output is appended there and a failure shows the log's tail;
 * without, it shares our terminal. `signal` kills it.
 */
export function run(command, args, { cwd, env, log, input, signal } = {}) {
  return new Promise((resolve, reject) => {
    if (log) mkdirSync(dirname(log), { recursive: true });
    const sink = log ? createWriteStream(log, { flags: "a" }) : undefined;
    sink?.write(`\n$ ${[command, ...args].join(" ")}\n`);
    const stdin = input === undefined ? "ignore" : "pipe";
    const stdio = sink ? [stdin, "pipe", "pipe"] : [stdin, "inherit", "inherit"];
    const child = spawn(command, args, { cwd, env: { ...process.env, PATH: toolPath, ...env }, stdio, signal });
    if (sink) {
      child.stdout.pipe(sink, { end: false });
      child.stderr.pipe(sink, { end: false });
    }
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
    let failure;
    child.once("error", (error) => (failure = error.message));
    child.once("close", (code, signal) => {
      const finish = () => {
        failure ??= code === 0 ? undefined : signal ? `ended by ${signal}` : `exit code ${String(code)}`;
        if (failure === undefined) resolve();
        else reject(new Stop(`${command} failed (${failure})${log ? `; the end of ${log}:\n${tail(log)}` : ""}`));
      };
      if (sink) sink.end(finish);
      else finish();
    });
  });
}

/** Runs a command and returns what it printed on stdout and how it ended. */
export function capture(command, args, { env } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      env: { ...process.env, PATH: toolPath, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
    child.once("error", (error) => resolve({ code: -1, stdout, stderr: error.message }));
    child.once("close", (code) => resolve({ code: code ?? -1, stdout, stderr }));
  });
}

/** The last lines of a text file. */
export function tail(path, lines = 25) {
  try {
    return readFileSync(path, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
  } catch {
    return "(nothing was logged)";
  }
}

/** Ends the process the way a person expects: a Stop's message alone, any other error with its stack. */
export function fail(error) {
  process.stderr.write(`${error instanceof Stop ? error.message : (error.stack ?? String(error))}\n`);
  process.exitCode = error instanceof Stop ? error.code : 1;
}

/** True for the module that was started from the command line, also through a link. */
export function isMain(meta) {
  const started = process.argv[1];
  return started !== undefined && realpathSync(started) === fileURLToPath(meta.url);
}
