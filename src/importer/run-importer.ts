import { importOptions } from "../config/import-options.ts";
import { importerFields, parseImporterConfig, type ImporterConfig } from "../config/importer-config.ts";
import type { Environment } from "../config/parse.ts";
import { secretsOf } from "../config/secrets.ts";
import type { Destination } from "../destination/destination.ts";
import type { Logger } from "../log/logger.ts";
import { tracked, trackedImport } from "../metrics/tracked-import.ts";
import type { RunningCopy } from "../copy/copy-image.ts";
import type { ImportImage } from "../pipeline/import-image.ts";
import type { StoredReport } from "../termination/message.ts";
import { importPodResult, runPodProcess, type PodContext, type PodSurroundings } from "../process/pod-process.ts";
import { inAttempts } from "../retry/attempts.ts";
import type { Backoff } from "../retry/retry.ts";
import type { Source } from "../source/source.ts";

/** The source that the configuration names, unless it is `dvcr`. */
export type OpenImporterSource = (config: ImporterConfig, log: Logger) => Source;

/** Copies the image that the configuration names as source, as it is. */
export type CopySource = (config: ImporterConfig, log: Logger, signal: AbortSignal) => RunningCopy;

export interface ImporterParts {
  readonly importImage: ImportImage;
  readonly openDestination: (config: ImporterConfig, log: Logger) => Destination;
  readonly openSource: OpenImporterSource;
  /** For the source `dvcr`, which is not converted. */
  readonly copySource: CopySource;
  /** Pauses between attempts; false when it has lasted long enough. */
  readonly backoff?: Pick<Backoff, "wait">;
}

/** One attempt at what the configuration asks for. */
function attemptOf(
  config: ImporterConfig,
  { log, tracker, signal }: PodContext,
  parts: ImporterParts,
): () => Promise<StoredReport> {
  const { copySource, openSource, importImage } = parts;
  if (config.source === "dvcr") {
    return async () => {
      return await tracked(copySource(config, log, signal), tracker, log);
    };
  }
  const runImport = trackedImport({
    importImage,
    openDestination: () => parts.openDestination(config, log),
    tracker,
    log,
  });
  return () => runImport(openSource(config, log), importOptions(config, config.checksums), signal);
}

/** Runs the import, again and again while its failures may pass. */
function importWithRetries(config: ImporterConfig, context: PodContext, parts: ImporterParts): Promise<StoredReport> {
  const { log, signal } = context;
  return inAttempts(attemptOf(config, context, parts), {
    signal,
    retries: config.retries,
    backoff: parts.backoff,
    onRetry: (error, attempt) => {
      log.warn({ err: error, attempt }, "import failed, trying again");
    },
  });
}

/**
 * The importer's process from start to exit code; see runImporter. `loadParts` is called when the metrics port answers:
 * loading them takes longer than everything before.
 */
export function importerProcess(
  argv: readonly string[],
  environment: Environment,
  loadParts: () => Promise<ImporterParts>,
  surroundings?: PodSurroundings,
): Promise<number> {
  return runPodProcess(
    {
      name: "dvcr-importer",
      result: importPodResult,
      fields: importerFields,
      parse: parseImporterConfig,
      secrets: (config) => [
        ...secretsOf(importerFields, config),
        ...config.headerLines.map((line) => line.slice(line.indexOf(":") + 1).trim()),
      ],
      run: async (config, context) => {
        context.conclude({ kind: "stored", report: await importWithRetries(config, context, await loadParts()) });
      },
    },
    argv,
    environment,
    surroundings,
  );
}
