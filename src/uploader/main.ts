import type { Environment } from "../config/parse.ts";
import { importImage } from "../pipeline/run-import.ts";
import { logRetries, podDestination } from "../process/pod-destination.ts";
import { uploaderProcess } from "./run-uploader.ts";

/** `dvcr-uploader`: serves until one upload was stored or refused for good; resolves to the exit code. */
export function runUploader(argv: readonly string[], environment: Environment): Promise<number> {
  return uploaderProcess(argv, environment, { importImage, openDestination: (config, log) => podDestination(config, logRetries(log, "registry")) });
}
