import type { Environment } from "../config/parse.ts";
import { parseUploaderConfig, uploaderFields, type UploaderConfig } from "../config/uploader-config.ts";
import { secretsOf } from "../config/secrets.ts";
import type { Destination } from "../destination/destination.ts";
import { toDvcrError } from "../errors/dvcr-error.ts";
import type { Logger } from "../log/logger.ts";
import { trackedImport } from "../metrics/tracked-import.ts";
import type { ImportImage } from "../pipeline/import-image.ts";
import type { Outcome } from "../process/outcome.ts";
import { importPodResult, runPodProcess, type PodContext, type PodSurroundings } from "../process/pod-process.ts";
import { closeGracefully, listen } from "./listen.ts";

export interface UploaderParts {
  readonly importImage: ImportImage;
  readonly openDestination: (config: UploaderConfig, log: Logger) => Destination;
}

/** Serves until the verdict on an upload or the signal to stop. */
async function serve(
  config: UploaderConfig,
  context: PodContext,
  loadParts: () => Promise<UploaderParts>,
): Promise<void> {
  const { log, tracker, signal, secrets, conclude, onListening } = context;
  // Loaded here, while the metrics port answers already: the HTTP framework and the core take most of the start.
  const [parts, { buildApp }, { buildHealthApp }] = await Promise.all([
    loadParts(),
    import("./app.ts"),
    import("./health.ts"),
  ]);
  // Opened once now, so that a malformed endpoint or unreadable file is told at start and not to the first client.
  await parts.openDestination(config, log).close();
  const runImport = trackedImport({
    importImage: parts.importImage,
    openDestination: () => parts.openDestination(config, log),
    tracker,
    log,
  });
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  signal.addEventListener("abort", end, { once: true });
  const verdicts: Outcome[] = [];
  const app = await buildApp(config, {
    runImport,
    signal,
    log,
    secrets,
    onVerdict: (verdict) => {
      verdicts.push(verdict);
      conclude(verdict);
    },
    onDone: () => end(),
  });
  const health = buildHealthApp();
  try {
    const healthz = await listen(health, "HEALTHZ_PORT", config.listenAddress, config.healthzPort);
    const upload = await listen(app, "LISTEN_PORT", config.listenAddress, config.listenPort);
    log.info(
      { uploadPort: upload, healthzPort: healthz, tls: config.tlsCertFile !== undefined },
      "waiting for an upload",
    );
    onListening({ upload, healthz });
    if (!signal.aborted) await ended;
  } finally {
    await closeGracefully(app);
    await closeGracefully(health);
  }
  // The import that ran when the signal came may still have ended well.
  if (verdicts.length === 0) conclude({ kind: "failed", error: toDvcrError(signal.reason) });
}

/** The upload server's process from start to exit code; see runUploader. */
export function uploaderProcess(
  argv: readonly string[],
  environment: Environment,
  loadParts: () => Promise<UploaderParts>,
  surroundings?: PodSurroundings,
): Promise<number> {
  return runPodProcess(
    {
      name: "dvcr-uploader",
      result: importPodResult,
      fields: uploaderFields,
      parse: parseUploaderConfig,
      secrets: (config) => secretsOf(uploaderFields, config),
      run: (config, context) => serve(config, context, loadParts),
    },
    argv,
    environment,
    surroundings,
  );
}
