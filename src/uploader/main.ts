import type { Environment } from "../config/parse.ts";
import { uploaderProcess } from "./run-uploader.ts";

/** `dvcr-uploader`: serves until one upload was stored or refused for good; resolves to the exit code. */
export function runUploader(argv: readonly string[], environment: Environment): Promise<number> {
  return uploaderProcess(argv, environment, async () => (await import("./parts.ts")).uploaderParts());
}
