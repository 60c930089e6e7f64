import type { Environment } from "../config/parse.ts";
import { importerProcess } from "./run-importer.ts";

/** `dvcr-importer`: runs the import that the environment describes; resolves to the exit code. */
export function runImporter(argv: readonly string[], environment: Environment): Promise<number> {
  return importerProcess(argv, environment, async () => (await import("./parts.ts")).importerParts());
}
