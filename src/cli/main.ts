import { Command, CommanderError } from "commander";
import type { Logger } from "pino";

import type { Environment } from "../config/parse.ts";
import { DvcrError, exitCode, toDvcrError } from "../errors/dvcr-error.ts";
import { createLogger } from "../log/logger.ts";
import { cliCopyEnds, cliDestination, cliSource } from "./endpoints.ts";
import { readCliEnvironment } from "../config/cli-environment.ts";
import { addCopyFlags, addImportFlags, addSourceFlags, type CopyFlags, type ImportFlags, type SourceFlags } from "./import-flags.ts";
import { runCopy } from "./copy-command.ts";
import { runImport } from "./import-command.ts";
import { inspect, refusalJson } from "./inspect-command.ts";
import { runImporter } from "../importer/main.ts";
import { runUploader } from "../uploader/main.ts";

/** Exit codes of a process ended by a signal, as shells count them. */
const SIGNAL_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** `dvcr`: parses `argv` (without node and script), runs the command and resolves to the process's exit code. */
export async function main(argv: readonly string[], environment: Environment): Promise<number> {
  // The pod processes parse their own flags, in the contract's way.
  if (argv[0] === "uploader") return await runUploader(argv.slice(1), environment);
  if (argv[0] === "importer") return await runImporter(argv.slice(1), environment);
  const run = new CliRun(environment);
  try {
    await run.program().parseAsync([...argv], { from: "user" });
    return run.code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    return run.report(toDvcrError(error));
  } finally {
    run.dispose();
  }
}

class CliRun {
  readonly #environment: Environment;
  readonly #abort = new AbortController();
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
      .exitOverride()
      .showHelpAfterError("Run with --help for the flags.");

    addImportFlags(addSourceFlags(program.command("import"), settings.scratchDir))
      .description("Convert a disk image to raw and store it as a container image with /disk/disk.img.")
      .argument("<source>", "file, block device, http(s):// URL, docker://HOST/REPO:TAG, or - for standard input")
      .argument("<destination>", "docker://HOST/REPO:TAG or oci:DIR:TAG")
      .addHelpText("after", IMPORT_HELP)
      .action(async (source: string, destination: string, flags: ImportFlags) => {
        const context = { logger: this.#logger, environment: settings };
        process.stdout.write(
          await runImport(cliSource(source, flags, context), cliDestination(destination, flags, context), flags, {
            logger: this.#logger,
            signal: this.#abort.signal,
            sourceDateEpoch: settings.sourceDateEpoch,
          }),
        );
      });

    addSourceFlags(program.command("inspect"), settings.scratchDir)
      .description("Say what a disk image is, from its first bytes.")
      .argument("<source>", "file, block device, http(s):// URL, docker://HOST/REPO:TAG, or - for standard input")
      .option("--json", "print JSON with the field names of qemu-img info", false)
      .action(async (source: string, flags: SourceFlags & { readonly json: boolean }) => {
        await this.#inspect(source, flags, settings);
      });

    addCopyFlags(program.command("copy"))
      .description("Copy an image as it is; within one registry nothing is sent that it can take over by itself.")
      .argument("<source>", "docker://HOST/REPO[:TAG|@DIGEST]")
      .argument("<destination>", "docker://HOST/REPO:TAG")
      .action(async (source: string, destination: string, flags: CopyFlags) => {
        const context = { logger: this.#logger, environment: settings };
        process.stdout.write(await runCopy(cliCopyEnds(source, destination, flags, context), flags, { logger: this.#logger, signal: this.#abort.signal }));
      });

    program.command("uploader").description("Run the upload server (environment and flags: docs/configuration.md).").helpOption(false);
    program.command("importer").description("Run the environment-driven importer (docs/configuration.md).").helpOption(false);
    return program;
  }

  async #inspect(text: string, flags: SourceFlags & { readonly json: boolean }, settings: ReturnType<typeof readCliEnvironment>): Promise<void> {
    const source = cliSource(text, flags, { logger: this.#logger, environment: settings });
    try {
      const limits = { maxVirtualSize: flags.maxVirtualSize, maxScratch: 0, maxDecoderMemory: flags.maxDecoderMemory };
      process.stdout.write(
        await inspect(source, { json: flags.json, limits, scratchDirectory: flags.scratchDir, ...(flags.srcFormat === undefined ? {} : { declaredFormat: flags.srcFormat }) }, this.#abort.signal),
      );
    } catch (error) {
      const known = toDvcrError(error);
      if (flags.json) process.stdout.write(refusalJson(source.description, known.code, known.message, known.entry.fix));
      this.code = this.report(known);
    }
  }
}

const IMPORT_HELP = `
Exit codes: 0 done; 1 failed, trying again may help; 2 wrong usage; 3 the input is refused, trying again cannot help.

Examples:
  dvcr import disk.qcow2 docker://registry.example.com/disks/ubuntu:24.04
  dvcr import https://example.com/disk.img.xz oci:./images:disk --checksum sha256:…
  zstd -dc disk.zst | dvcr import - docker://localhost:5000/disk:1 --dest-tls-verify=false
`;
