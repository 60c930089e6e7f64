import tab from "@bomb.sh/tab/commander";
import { Command, CommanderError } from "commander";
import type { Logger } from "pino";

import type { Environment } from "../config/parse.ts";
import { DvcrError, exitCode, toDvcrError } from "../errors/dvcr-error.ts";
import { diskTarget } from "../disk/disk-target.ts";
import { createLogger } from "../log/logger.ts";
import { cliCopyEnds, cliDestination, cliProbed, cliSource } from "./endpoints.ts";
import { readCliEnvironment, type CliEnvironment } from "../config/cli-environment.ts";
import { addImageCommands } from "./image-commands.ts";
import { runDoctor } from "./doctor-command.ts";
import type { CopyFlags, DoctorFlags, ExportFlags, ImportFlags, SourceFlags } from "./import-flags.ts";
import { runCopy } from "./copy-command.ts";
import { runExport } from "./export-command.ts";
import { runImport } from "./import-command.ts";
import { inspect, refusalJson } from "./inspect-command.ts";
import { addProcessCommands } from "./process-commands.ts";
import { addServiceCommands } from "./service/commands.ts";
import { operandsOf, UsageProblems } from "./usage.ts";
import { version } from "../config/version.ts";

/** Exit codes of a process ended by a signal, as shells count them. */
const SIGNAL_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** `dvcr`: parses `argv` (without node and script), runs the command and resolves to the process's exit code. */
export async function main(argv: readonly string[], environment: Environment): Promise<number> {
  // The processes parse their own flags, by their tables. What they need is loaded for them alone.
  const rest = argv.slice(1);
  if (argv[0] === "uploader") return await (await import("../uploader/main.ts")).runUploader(rest, environment);
  if (argv[0] === "pvc-importer")
    return await (await import("../pvc-importer/main.ts")).runPvcImporter(rest, environment);
  if (argv[0] === "importer") return await (await import("../importer/main.ts")).runImporter(rest, environment);
  if (argv[0] === "serve") return await (await import("../service/server/main.ts")).runServe(rest, environment);
  if (argv[0] === "restore") return await (await import("../service/restore/command.ts")).runRestore(rest, environment);
  if (argv[0] === "gc") return await (await import("../service/gc/command.ts")).runGc(rest, environment);
  const run = new CliRun(environment);
  try {
    await run.program().parseAsync([...argv], { from: "user" });
    return run.code;
  } catch (error) {
    if (!(error instanceof CommanderError)) return run.report(toDvcrError(error));
    // Help and version were printed; nothing else is by commander itself.
    if (error.exitCode === 0) return 0;
    return error.code === "commander.help"
      ? 2
      : run.report(new DvcrError("E_USAGE", error.message.replace(/^error: /, "")));
  } finally {
    run.dispose();
  }
}

class CliRun {
  readonly #environment: Environment;
  readonly #abort = new AbortController();
  readonly #problems = new UsageProblems();
  readonly #logger: Logger = createLogger({ output: 2 });
  readonly #onSignal = (signal: NodeJS.Signals) => {
    this.#signalled = signal as keyof typeof SIGNAL_CODES;
    this.#abort.abort(new DvcrError("E_CANCELLED", `ended by ${signal}`));
  };
  #signalled: keyof typeof SIGNAL_CODES | undefined;
  code = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
    process.on("SIGINT", this.#onSignal).on("SIGTERM", this.#onSignal);
  }

  dispose(): void {
    process.off("SIGINT", this.#onSignal).off("SIGTERM", this.#onSignal);
  }

  report(error: DvcrError): number {
    process.stderr.write(`${error.toLine()}\n`);
    return this.#signalled ? SIGNAL_CODES[this.#signalled] : exitCode(error);
  }

  program(): Command {
    const settings = readCliEnvironment(this.#environment);
    const program = new Command("dvcr")
      .description("Streams virtual machine disk images into OCI registries.")
      .version(version)
      .exitOverride()
      .configureOutput({ outputError: () => undefined });

    const { importing, exporting, inspecting, copying, probing } = addImageCommands(
      program,
      settings.scratchDir,
      this.#problems,
    );
    importing.action(() => this.#import(importing, settings));
    exporting.action(() => this.#export(exporting, settings));
    inspecting.action(() => this.#inspect(inspecting, settings));
    copying.action(() => this.#copy(copying, settings));
    probing.action(() => this.#probe(probing, settings));

    addServiceCommands(program, {
      environment: settings,
      problems: this.#problems,
      logger: this.#logger,
      signal: this.#abort.signal,
    });

    addProcessCommands(program);
    addCompletion(program);
    return program;
  }

  async #import(command: Command, settings: CliEnvironment): Promise<void> {
    const flags = command.opts<ImportFlags>();
    const context = { logger: this.#logger, environment: settings };
    const [from, to] = operandsOf(command, this.#problems) as [string, string];
    const source = this.#problems.attempt(() => cliSource(from, flags, context));
    const destination = to === "" ? undefined : this.#problems.attempt(() => cliDestination(to, flags, context));
    this.#problems.throwIfAny();
    process.stdout.write(
      await runImport(source!, destination!, flags, {
        logger: this.#logger,
        signal: this.#abort.signal,
        sourceDateEpoch: settings.sourceDateEpoch,
      }),
    );
  }

  async #export(command: Command, settings: CliEnvironment): Promise<void> {
    const flags = command.opts<ExportFlags>();
    const [from, to] = operandsOf(command, this.#problems) as [string, string];
    const source = this.#problems.attempt(() =>
      cliSource(from, flags, { logger: this.#logger, environment: settings }),
    );
    const seekable = flags.format === "qcow2";
    if (!seekable && flags.compression !== "none") this.#problems.add("--compression: only a qcow2 disk has one");
    if (flags.verify && to === "-") this.#problems.add("--verify: standard output cannot be read back");
    const target =
      to === "" ? undefined : this.#problems.attempt(() => diskTarget(to, { force: flags.force, seekable }));
    this.#problems.throwIfAny();
    const report = await runExport(source!, target!, flags, { logger: this.#logger, signal: this.#abort.signal });
    // Where the disk itself goes to standard output the report must not.
    (to === "-" ? process.stderr : process.stdout).write(report);
  }

  async #copy(command: Command, settings: CliEnvironment): Promise<void> {
    const flags = command.opts<CopyFlags>();
    const [from, to] = operandsOf(command, this.#problems) as [string, string];
    this.#problems.throwIfAny();
    const ends = cliCopyEnds(from, to, flags, { logger: this.#logger, environment: settings });
    process.stdout.write(await runCopy(ends, flags, { logger: this.#logger, signal: this.#abort.signal }));
  }

  async #probe(command: Command, settings: CliEnvironment): Promise<void> {
    const flags = command.opts<DoctorFlags>();
    const [repository] = operandsOf(command, this.#problems) as [string];
    this.#problems.throwIfAny();
    const probed = cliProbed(repository, flags, { logger: this.#logger, environment: settings });
    const { text, code } = await runDoctor(probed, flags, this.#abort.signal);
    process.stdout.write(text);
    this.code = code;
  }

  async #inspect(command: Command, settings: CliEnvironment): Promise<void> {
    const flags = command.opts<SourceFlags & { readonly json: boolean }>();
    const [from] = operandsOf(command, this.#problems) as [string];
    const source = this.#problems.attempt(() =>
      cliSource(from, flags, { logger: this.#logger, environment: settings }),
    )!;
    this.#problems.throwIfAny();
    try {
      const limits = { maxVirtualSize: flags.maxVirtualSize, maxScratch: 0, maxDecoderMemory: flags.maxDecoderMemory };
      process.stdout.write(
        await inspect(
          source,
          {
            json: flags.json,
            limits,
            scratchDirectory: flags.scratchDir,
            ...(flags.srcFormat === undefined ? {} : { declaredFormat: flags.srcFormat }),
          },
          this.#abort.signal,
        ),
      );
    } catch (error) {
      const known = toDvcrError(error);
      if (flags.json) process.stdout.write(refusalJson(source.description, known.code, known.message, known.fix));
      this.code = this.report(known);
    }
  }
}

/** `dvcr complete bash|zsh|fish|powershell` prints the script that completes commands and options. */
function addCompletion(program: Command): void {
  tab(program);
  program.commands
    .find((command) => command.name() === "complete")
    ?.description("Print the completion script of a shell, such as: source <(dvcr complete bash)");
}
