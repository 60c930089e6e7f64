import type { Environment } from "../config/parse.ts";
import { parsePvcImporterConfig, pvcImporterFields, type PvcImporterConfig } from "../config/pvc-importer-config.ts";
import { secretsOf } from "../config/secrets.ts";
import type { ExportReport } from "../pipeline/export-disk.ts";
import { plainExitCode } from "../process/outcome.ts";
import { runPodProcess, type PodContext, type PodResult, type PodSurroundings } from "../process/pod-process.ts";
import { plainLine } from "../termination/message.ts";

/** Writes the disk that the configuration names. */
export type WriteDisk = (config: PvcImporterConfig, context: PodContext<ExportReport>) => Promise<ExportReport>;

/** The form of the message is the bundled importer's: JSON for success, one line of text for failure. */
const result: PodResult<ExportReport> = {
  form: {
    success: () =>
      JSON.stringify({
        scratchSpaceRequired: false,
        preallocationApplied: false,
        labels: {},
        message: "Import Complete",
      }),
    failure: (error, { secrets }) => plainLine(error.toLine(), secrets),
  },
  exitCode: plainExitCode,
  progressGauge: "kubevirt_cdi_import_progress_total",
  words: { done: "disk written", failed: "no disk written", unfinished: "the disk was written" },
};

/**
 * The process from start to exit code; see runPvcImporter. A failure is not tried again from the start here: the
 * kubelet does that, by the exit code, and its message stays to be read.
 */
export function pvcImporterProcess(
  argv: readonly string[],
  environment: Environment,
  load: () => Promise<WriteDisk>,
  surroundings?: PodSurroundings,
): Promise<number> {
  return runPodProcess(
    {
      name: "dvcr-pvc-importer",
      result,
      fields: pvcImporterFields,
      parse: parsePvcImporterConfig,
      secrets: (config) => secretsOf(pvcImporterFields, config),
      run: async (config, context) => {
        const writeDisk = await load();
        context.conclude({ kind: "stored", report: await writeDisk(config, context) });
      },
    },
    argv,
    environment,
    surroundings,
  );
}
