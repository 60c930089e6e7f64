/** `dvcr gc check` and `dvcr gc run`: through the server that uses the data directory, or by itself where none does. */
import { createInterface } from "node:readline/promises";
import { gcFlags, gcUsage } from "../../config/data-flags.ts";
import { flagsHelp } from "../../config/help-text.ts";
import { parseServeConfig, type ServeConfig } from "../../config/serve-config.ts";
import type { Environment } from "../../config/parse.ts";
import { DvcrError } from "../../errors/dvcr-error.ts";
import { createLogger } from "../../log/logger.ts";
import { openEmbedded } from "../images/open-embedded.ts";
import { requireDataDirectory, runDataCommand } from "../store/data-command.ts";
import { DataDirectory } from "../store/data-directory.ts";
import { SqliteStore } from "../store/sqlite-store.ts";
import { GarbageCollector, type GcRunOptions } from "./collector.ts";
import { askServer } from "./control.ts";
import { checkText, runText } from "./report-text.ts";

/** Resolves to the exit code. */
export function runGc(argv: readonly string[], environment: Environment): Promise<number> {
  return runDataCommand("gc", gcUsage + flagsHelp(gcFlags), argv, async (command, rest) => {
    const config = parseServeConfig(
      environment,
      rest.filter((flag) => flag !== "--yes" && flag !== "--force"),
    );
    const force = rest.includes("--force");
    await requireImages(config);
    if (command === "check") process.stdout.write(checkText(await check(config)));
    else if (rest.includes("--yes") || (await confirmed(config)))
      process.stdout.write(runText(await run(config, { force })));
  });
}

const check = (config: ServeConfig) =>
  aloneOrAsking(
    config,
    (collector) => collector.check(),
    () => askServer(config.dataDir, "check"),
  );
const run = (config: ServeConfig, options: GcRunOptions) =>
  aloneOrAsking(
    config,
    (collector) => collector.run(options),
    () => askServer(config.dataDir, "run", options),
  );

async function requireImages({ registry, dataDir }: ServeConfig): Promise<void> {
  if (registry !== undefined) {
    throw new DvcrError(
      "E_USAGE",
      `gc: the images are kept in the registry ${registry}, which others may use too; its own ` +
        "garbage collection cleans it",
    );
  }
  await requireDataDirectory("gc", dataDir);
}

async function confirmed(config: ServeConfig): Promise<boolean> {
  if (!process.stdin.isTTY) throw new DvcrError("E_USAGE", "gc run: --yes is needed where nobody can be asked");
  const report = await check(config);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    process.stderr.write(checkText(report));
    return /^y(?:es)?$/i.test((await terminal.question("Remove them? [y/N] ")).trim());
  } finally {
    terminal.close();
  }
}

async function aloneOrAsking<T>(
  config: ServeConfig,
  alone: (collector: GarbageCollector) => Promise<T>,
  ask: () => Promise<T>,
): Promise<T> {
  let directory: DataDirectory;
  try {
    directory = await DataDirectory.acquire(config.dataDir);
  } catch (error) {
    if (error instanceof DvcrError && error.code === "E_DATA_DIR_IN_USE") return ask();
    throw error;
  }
  try {
    const log = createLogger({ output: 2, verbosity: 0 });
    const store = await SqliteStore.open(directory, {
      onError: (error) => log.error({ err: error }, "the store met a problem"),
    });
    try {
      const place = await openEmbedded(config, { directory, database: store }, { host: "", keepLeftovers: true });
      return await alone(
        new GarbageCollector({ store, place, blobs: place.blobs, log, maxShare: config.gcMaxShare / 100 }),
      );
    } finally {
      await store.close();
    }
  } finally {
    await directory.release();
  }
}
