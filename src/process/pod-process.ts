import { readEarly } from "../config/early.ts";
import type { FieldTable } from "../config/field.ts";
import { helpText } from "../config/help-text.ts";
import type { Environment } from "../config/parse.ts";
import { toDvcrError } from "../errors/dvcr-error.ts";
import { createLogger, type Logger, type LoggerOptions } from "../log/logger.ts";
import { ProgressTracker } from "../metrics/progress.ts";
import { startMetricsServer, type MetricsServer } from "../metrics/server.ts";
import { TerminationWriter } from "../termination/writer.ts";
import { podExitCode, type Outcome } from "./outcome.ts";
import { stopSignals, type SignalOrigin } from "./stop-signals.ts";

/** What differs between the importer and the uploader. */
export interface PodJob<Config extends PodConfig> {
  readonly name: string;
  /** For --help. */
  readonly fields: FieldTable;
  /** Reads the configuration. Throws E_CONFIG with every problem. */
  parse(environment: Environment, argv: readonly string[]): Config;
  /** Values that no log, answer or message may show. */
  secrets(config: Config): readonly string[];
  /** Does the work and calls `conclude` once; or throws, which concludes with the error. */
  run(config: Config, context: PodContext): Promise<void>;
}

export interface PodConfig {
  readonly destination: string;
  readonly verbosity: number;
}

export interface PodContext {
  readonly log: Logger;
  readonly tracker: ProgressTracker;
  /** Aborted, with a DvcrError as reason, when the process is told to stop. */
  readonly signal: AbortSignal;
  readonly secrets: readonly string[];
  /** Writes the termination message of the outcome. */
  readonly conclude: (outcome: Outcome) => void;
  readonly onListening: (ports: Readonly<Record<string, number>>) => void;
}

/** What tests put in place of the process around. */
export interface PodSurroundings {
  readonly signals?: SignalOrigin;
  readonly logOutput?: LoggerOptions["output"];
  /** Told the ports as they come to be listened on. */
  readonly onListening?: (ports: Readonly<Record<string, number>>) => void;
}

/**
 * The life of a pod process: metrics first, then the configuration, then the work; whatever happens ends in a
 * termination message and an exit code. Never throws.
 */
export async function runPodProcess<Config extends PodConfig>(
  job: PodJob<Config>,
  argv: readonly string[],
  environment: Environment,
  surroundings: PodSurroundings = {},
): Promise<number> {
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(helpText(job.name, job.fields));
    return 0;
  }
  const early = readEarly(environment);
  const output = surroundings.logOutput ?? 1;
  const onListening = surroundings.onListening ?? (() => undefined);
  let log = createLogger({ verbosity: early.verbosity, output });
  let termination = new TerminationWriter({ path: early.terminationLog, destination: "", secrets: [], log });
  let outcome: Outcome | undefined;
  let messageWritten = false;
  const conclude = (one: Outcome): void => {
    outcome = one;
    messageWritten = one.kind === "stored" ? termination.success(one.report) : termination.failure(one.error);
    if (one.kind === "stored") log.info({ report: one.report }, "image stored");
    else log.error({ err: one.error }, "no image stored");
  };
  // Written at once: the process may be killed before everything is cleaned up.
  const stop = stopSignals(surroundings.signals ?? process, (error) => {
    if (outcome === undefined) termination.failure(error);
  });
  const tracker = new ProgressTracker();
  let metrics: MetricsServer | undefined;
  try {
    metrics = await startMetricsServer(tracker, { port: early.metricsPort, ownerUid: early.ownerUid });
    onListening({ metrics: metrics.port });
    const config = job.parse(environment, argv);
    const secrets = job.secrets(config);
    log = createLogger({ verbosity: config.verbosity, output, secrets });
    termination = new TerminationWriter({ path: early.terminationLog, destination: config.destination, secrets, log });
    log.info({ process: job.name, metricsPort: metrics.port, node: process.version }, "started");
    await job.run(config, { log, tracker, signal: stop.signal, secrets, conclude, onListening });
  } catch (error) {
    if (outcome === undefined) conclude({ kind: "failed", error: toDvcrError(error) });
    else log.error({ err: error }, "closing failed");
  } finally {
    stop.release();
    await metrics?.close();
  }
  const final: Outcome = outcome ?? {
    kind: "failed",
    error: toDvcrError(new Error(`${job.name} ended without a result`)),
  };
  if (outcome === undefined) conclude(final);
  return podExitCode(final, { messageWritten, stoppedBy: stop.stoppedBy() });
}
