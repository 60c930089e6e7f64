import { DvcrError } from "../../../errors/dvcr-error.ts";
import { UploadMemory } from "../../../uploader/upload-memory.ts";
import type { Executor, ImportJob, NamespaceUse, RunningJob } from "../executor.ts";
import { FetchJob } from "./fetch-job.ts";
import type { LocalJob } from "./local-job.ts";
import type { ExecutorDeps } from "./settings.ts";
import { limitsFor, Places } from "./places.ts";
import { UploadJob } from "./upload-job.ts";

/** Imports in this process, a bounded number at once, shared out between namespaces. */
export class LocalExecutor implements Executor {
  readonly #deps: ExecutorDeps;
  readonly #imports: Places;
  readonly #uploads: Places;
  readonly #memory: UploadMemory;
  readonly #jobs = new Map<string, LocalJob>();

  /** `memory`: what uploads that have begun may hold together. */
  constructor(deps: ExecutorDeps, memory = new UploadMemory()) {
    this.#deps = deps;
    this.#memory = memory;
    this.#imports = new Places(limitsFor(deps.settings.maxImports));
    this.#uploads = new Places(limitsFor(deps.settings.maxUploads));
  }

  start(job: ImportJob): RunningJob {
    const known = this.#jobs.get(job.uid);
    if (known !== undefined) return known;
    const { source } = job;
    const made =
      source.type === "upload"
        ? new UploadJob(job, source.token, this.#deps, this.#uploads, this.#memory.of(job.namespace))
        : new FetchJob(job, source, this.#deps, this.#imports);
    this.#jobs.set(job.uid, made);
    made.start();
    return made;
  }

  find(uid: string): RunningJob | undefined {
    return this.#jobs.get(uid);
  }

  running(): readonly RunningJob[] {
    return [...this.#jobs.values()];
  }

  use(): readonly NamespaceUse[] {
    return [
      ...this.#imports.use().map((use) => ({ ...use, work: "import" as const })),
      ...this.#uploads.use().map((use) => ({ ...use, work: "upload" as const })),
    ];
  }

  async stop(uid: string): Promise<void> {
    const job = this.#jobs.get(uid);
    await job?.stop(new DvcrError("E_CANCELLED", "the import was cancelled"));
    if (this.#jobs.get(uid) === job) this.#jobs.delete(uid);
  }

  async close(): Promise<void> {
    const reason = new DvcrError("E_CANCELLED", "the service stops");
    await Promise.all([...this.#jobs.values()].map((job) => job.stop(reason)));
    this.#jobs.clear();
  }
}
