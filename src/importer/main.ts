import type { Environment } from "../config/parse.ts";
import { importImage } from "../pipeline/run-import.ts";
import { logRetries, podDestination } from "../process/pod-destination.ts";
import { importerProcess } from "./run-importer.ts";
import { sourceFactories } from "./sources.ts";

/** `dvcr-importer`: runs the import that the environment describes; resolves to the exit code. */
export function runImporter(argv: readonly string[], environment: Environment): Promise<number> {
  return importerProcess(argv, environment, { importImage, openDestination: (config, log) => podDestination(config, logRetries(log, "registry")), sources: sourceFactories });
}
