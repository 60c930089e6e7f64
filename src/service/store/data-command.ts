/** What `dvcr gc` and `dvcr restore`, which work on the data directory of `dvcr serve`, have in common. */
import { stat } from "node:fs/promises";
import { DvcrError, exitCode, toDvcrError } from "../../errors/dvcr-error.ts";

/**
 * Runs `dvcr NAME check|run …` to its exit code: `help` is printed for --help, an error goes to standard error in one
 * line. `work` has the other arguments.
 */
export async function runDataCommand(
  name: string,
  help: string,
  argv: readonly string[],
  work: (command: "check" | "run", rest: readonly string[]) => Promise<void>,
): Promise<number> {
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(help);
    return 0;
  }
  try {
    const [command, ...rest] = argv;
    if (command !== "check" && command !== "run")
      throw new DvcrError(
        "E_USAGE",
        `${name}: got ${command === undefined ? "no command" : JSON.stringify(command)}, expected check or run`,
      );
    await work(command, rest);
    return 0;
  } catch (thrown) {
    const error = toDvcrError(thrown);
    process.stderr.write(`${error.toLine()}\n`);
    return exitCode(error);
  }
}

/** @throws DvcrError E_USAGE where there is no directory `path`. */
export async function requireDataDirectory(name: string, path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() !== true) throw new DvcrError("E_USAGE", `${name}: there is no data directory "${path}"`);
}
