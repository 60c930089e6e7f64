import { importOptions } from "../../../config/import-options.ts";
import { inAttempts } from "../../../retry/attempts.ts";
import type { ImportJob, JobResult, JobSource } from "../executor.ts";
import { fetchedSource } from "./import-source.ts";
import { LocalJob, resultOf } from "./local-job.ts";
import type { ExecutorDeps } from "./settings.ts";
import type { Slots } from "./slots.ts";

type Fetched = Exclude<JobSource, { type: "upload" }>;

/** An import from a server, or a copy of a stored image: in its turn, and again while its failures may pass. */
export class FetchJob extends LocalJob {
  readonly #source: Fetched;
  readonly #slots: Slots;
  #done: Promise<void> = Promise.resolve();

  constructor(job: ImportJob, source: Fetched, deps: ExecutorDeps, slots: Slots) {
    super(job, deps);
    this.#source = source;
    this.#slots = slots;
  }

  start(): void {
    this.#done = this.#slots
      .run(this.signal, () => this.sampled(() => this.#attempts()))
      .then(
        (result) => {
          this.stored(result);
        },
        (error: unknown) => {
          this.failed(error);
        },
      );
  }

  protected ended(): Promise<void> {
    return this.#done;
  }

  #attempts(): Promise<JobResult> {
    return inAttempts(() => this.#attempt(), {
      signal: this.signal,
      retries: this.deps.settings.retries,
      // Room comes when somebody makes some: the source is not fetched twenty times until then.
      mayPass: ({ code }) => code !== "E_PLACE_FULL",
      onRetry: (error, attempt) => {
        this.log.warn({ err: error, attempt }, "import failed, trying again");
        this.retrying(error);
      },
    });
  }

  async #attempt(): Promise<JobResult> {
    const { settings, place } = this.deps;
    const { target, checksums } = this.job;
    if (this.#source.type === "copy") {
      await this.deps.beforeStored(this.job.uid, this.#source.bytes ?? 0);
      await place.copy(this.#source.from, target, this.signal);
      return { manifestDigest: await this.#copiedDigest() };
    }
    const source = fetchedSource(this.#source, settings, this.log, (error) => {
      this.retrying(error);
    });
    return resultOf(await this.runImport(source, importOptions(settings.image, checksums), this.signal));
  }

  async #copiedDigest(): Promise<string> {
    const destination = this.deps.place.destination(this.job.target);
    try {
      return (await destination.current(this.signal))?.manifestDigest ?? "";
    } finally {
      await destination.close();
    }
  }
}
