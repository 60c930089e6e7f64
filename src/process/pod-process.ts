import { readEarly } from "../config/early.ts";
import type { FieldTable } from "../config/field.ts";
import { helpText } from "../config/help-text.ts";
import type { Environment } from "../config/parse.ts";
import { toDvcrError, type DvcrError } from "../errors/dvcr-error.ts";
import { createLogger, type Logger, type LoggerOptions } from "../log/logger.ts";
import { ProgressTracker } from "../metrics/progress.ts";
import { startMetricsServer, type MetricsServer } from "../metrics/server.ts";
import type { StoredReport } from "../termination/message.ts";
import { importResult, TerminationWriter, type ResultForm } from "../termination/writer.ts";
import { podExitCode, type EndFacts, type Outcome } from "./outcome.ts";
import { stopSignals, type SignalOrigin } from "./stop-signals.ts";

/** What differs between the pod processes. */
export interface PodJob<Config extends PodConfig, Report> {
  readonly name: string;
  /** For --help. */
  readonly fields: FieldTable;
  /** Reads the configuration. Throws E_CONFIG with every problem. */
  parse(environment: Environment, argv: readonly string[]): Config;
  /** Values that no log, answer or message may show. */
  secrets(config: Config): readonly string[];
  /** Does the work and calls `conclude` once; or throws, which concludes with the error. */
  run(config: Config, context: PodContext<Report>): Promise<void>;
  /** How the result is reported, to whom it may concern. */
  readonly result: PodResult<Report>;
}

export interface PodResult<Report> {
  /** The termination message. */
  readonly form: ResultForm<Report>;
  readonly exitCode: (outcome: Outcome<Report>, facts: EndFacts) => number;
  /** Another name for the gauge of the progress. */
  readonly progressGauge?: string;
  /** What the log says of success and of failure; what completes "told to stop before …". */
  readonly words: { readonly done: string; readonly failed: string; readonly unfinished: string };
}

/** Of the importer and the uploader, whose controller reads the message. */
export const importPodResult: PodResult<StoredReport> = {
  form: importResult,
  exitCode: podExitCode,
  words: { done: "image stored", failed: "no image stored", unfinished: "the image was stored" },
};

export interface PodConfig {
  /** Where an image goes; nothing where the process stores none. */
  readonly destination?: string;
  readonly verbosity: number;
}

export interface PodContext<Report = StoredReport> {
  readonly log: Logger;
  readonly tracker: ProgressTracker;
  /** Aborted, with a DvcrError as reason, when the process is told to stop. */
  readonly signal: AbortSignal;
  readonly secrets: readonly string[];
  /** Writes the termination message of the outcome. */
  readonly conclude: (outcome: Outcome<Report>) => void;
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
export async function runPodProcess<Config extends PodConfig, Report>(
  job: PodJob<Config, Report>,
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
  const { form, words, progressGauge, exitCode } = job.result;
  const message = { path: early.terminationLog, form };
  let termination = new TerminationWriter({ ...message, destination: "", secrets: [], log });
  let outcome: Outcome<Report> | undefined;
  let messageWritten = false;
  const conclude = (one: Outcome<Report>): void => {
    outcome = one;
    messageWritten = one.kind === "stored" ? termination.success(one.report) : termination.failure(one.error);
    if (one.kind === "stored") log.info({ report: one.report }, words.done);
    else log.error({ err: one.error }, words.failed);
  };
  // Written at once: the process may be killed before everything is cleaned up.
  const onStop = (error: DvcrError): void => {
    if (outcome === undefined) termination.failure(error);
  };
  const stop = stopSignals(surroundings.signals ?? process, onStop, words.unfinished);
  const tracker = new ProgressTracker();
  let metrics: MetricsServer | undefined;
  try {
    metrics = await startMetricsServer(tracker, {
      port: early.metricsPort,
      ownerUid: early.ownerUid,
      progressGauge,
    });
    onListening({ metrics: metrics.port });
    const config = job.parse(environment, argv);
    const secrets = job.secrets(config);
    log = createLogger({ verbosity: config.verbosity, output, secrets });
    termination = new TerminationWriter({ ...message, destination: config.destination ?? "", secrets, log });
    log.info({ process: job.name, metricsPort: metrics.port, node: process.version }, "started");
    await job.run(config, { log, tracker, signal: stop.signal, secrets, conclude, onListening });
  } catch (error) {
    if (outcome === undefined) conclude({ kind: "failed", error: toDvcrError(error) });
    else log.error({ err: error }, "closing failed");
  } finally {
    stop.release();
    await metrics?.close();
  }
  const final: Outcome<Report> = outcome ?? {
    kind: "failed",
    error: toDvcrError(new Error(`${job.name} ended without a result`)),
  };
  if (outcome === undefined) conclude(final);
  return exitCode(final, { messageWritten, stoppedBy: stop.stoppedBy() });
}
