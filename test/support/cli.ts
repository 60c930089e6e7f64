import { spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { fileURLToPath } from "node:url";

import type { ImportReport } from "../../src/pipeline/import-image.ts";

const executable = fileURLToPath(new URL("../../bin/dvcr", import.meta.url));

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** A file for its standard input. */
  readonly input?: string;
  /** A stream for its standard input. */
  readonly stream?: NodeJS.ReadableStream;
  /** A program and its first arguments, which then runs bin/dvcr: taskset, strace, another Node. */
  readonly wrapper?: readonly string[];
  /** More environment. */
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs bin/dvcr as a user would. */
export async function dvcr(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const [command, ...rest] = [...(options.wrapper ?? []), executable, ...args];
  const child = spawn(command!, rest, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...options.env } });
  const input =
    options.input === undefined ? options.stream : createReadStream(options.input, { highWaterMark: 1 << 18 });
  if (input === undefined) child.stdin.end();
  else input.pipe(child.stdin.on("error", () => undefined));
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject).on("close", resolve);
  });
  return { code, stdout: await stdout, stderr: await stderr };
}

/** `dvcr import` that must succeed; its report. */
export async function dvcrImport(source: string, destination: string, ...flags: string[]): Promise<ImportReport> {
  return await dvcrImportWith({}, source, destination, ...flags);
}

export async function dvcrImportWith(
  options: RunOptions,
  source: string,
  destination: string,
  ...flags: string[]
): Promise<ImportReport> {
  const finished = await dvcr(
    ["import", "--json", "--quiet", "--dest-tls-verify=false", ...flags, source, destination],
    options,
  );
  if (finished.code !== 0) throw new Error(`dvcr import ended with ${String(finished.code)}: ${finished.stderr}`);
  return JSON.parse(finished.stdout) as ImportReport;
}

async function collect(stream: AsyncIterable<unknown>): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("utf8");
}
