import type { Environment } from "../config/parse.ts";
import { pvcImporterProcess } from "./run-pvc-importer.ts";

/** `dvcr-pvc-importer`: fills the volume that the environment describes; resolves to the exit code. */
export function runPvcImporter(argv: readonly string[], environment: Environment): Promise<number> {
  return pvcImporterProcess(argv, environment, async () => (await import("./write-disk.ts")).writeDisk);
}
