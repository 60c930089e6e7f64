import { helpText } from "../../config/help-text.ts";
import type { Environment } from "../../config/parse.ts";
import { secretsOf } from "../../config/secrets.ts";
import { parseServeConfig, serveFields } from "../../config/serve-config.ts";
import { exitCode, toDvcrError } from "../../errors/dvcr-error.ts";
import { createLogger, type Logger } from "../../log/logger.ts";
import { stopSignals } from "../../process/stop-signals.ts";

/** `dvcr serve`: runs the images service until it is told to stop; resolves to the exit code. */
export async function runServe(argv: readonly string[], environment: Environment): Promise<number> {
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(helpText("dvcr serve", serveFields));
    return 0;
  }
  const stop = stopSignals(process, () => undefined);
  let log = createLogger();
  try {
    const config = parseServeConfig(environment, argv);
    log = createLogger({ verbosity: config.verbosity, secrets: secretsOf(serveFields, config) });
    // Loaded here, when nothing can be wrong with the options any more: it takes longer than everything before.
    const { startService } = await import("./service.ts");
    const service = await startService(config, log, environment);
    const reload = (): void => {
      tryToReload(() => {
        service.reconfigure(parseServeConfig(environment, argv));
      }, log);
    };
    process.on("SIGHUP", reload);
    log.info(
      {
        url: service.url,
        ...(service.probePort === undefined ? {} : { probePort: service.probePort }),
        dataDirectory: config.dataDir,
        authentication: config.tokenFile !== undefined,
      },
      "serving",
    );
    await new Promise<void>((resolve) => {
      if (stop.signal.aborted) resolve();
      else
        stop.signal.addEventListener(
          "abort",
          () => {
            resolve();
          },
          { once: true },
        );
    });
    log.info({ signal: stop.stoppedBy() }, "stopping");
    process.off("SIGHUP", reload);
    await service.close();
    return 0;
  } catch (thrown) {
    const error = toDvcrError(thrown);
    log.error({ err: error }, "the service ends");
    process.stderr.write(`${error.toLine()}\n`);
    return exitCode(error);
  } finally {
    stop.release();
  }
}

function tryToReload(reload: () => void, log: Logger): void {
  try {
    reload();
    log.info("configuration read again");
  } catch (error) {
    log.error({ err: error }, "the configuration was not taken over");
  }
}
