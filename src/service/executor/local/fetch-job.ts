import { importOptions } from "../../../config/import-options.ts";
import { inAttempts } from "../../../retry/attempts.ts";
import type { ImportJob, JobResult, JobSource } from "../executor.ts";
import { fetchedSource } from "./import-source.ts";
import { LocalJob, resultOf } from "./local-job.ts";
import type { Place } from "./place.ts";
import { placedSource } from "./placed-source.ts";
import type { Places } from "./places.ts";
import type { ExecutorDeps } from "./settings.ts";

type Fetched = Exclude<JobSource, { type: "upload" }>;

/** An import from a server, or a copy of a stored image: in its turn, and again while its failures may pass. */
export class FetchJob extends LocalJob {
  readonly #source: Fetched;
  readonly #places: Places;
  #done: Promise<void> = Promise.resolve();

  constructor(job: ImportJob, source: Fetched, deps: ExecutorDeps, places: Places) {
    super(job, deps);
    this.#source = source;
    this.#places = places;
  }

  start(): void {
    this.#done = this.sampled(() => this.#attempts()).then(
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
    return inAttempts(() => this.#inItsTurn(), {
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

  /** One attempt. Between two of them the place is free for others. */
  #inItsTurn(): Promise<JobResult> {
    return this.inTurn(this.#places, this.signal, async (place, signal) => {
      this.change({ phase: "running" });
      return await this.#attempt(place, signal);
    });
  }

  async #attempt(place: Place, signal: AbortSignal): Promise<JobResult> {
    const { settings } = this.deps;
    const { target, checksums } = this.job;
    if (this.#source.type === "copy") {
      await this.deps.beforeStored(this.job.uid, this.#source.bytes ?? 0);
      await this.deps.place.copy(this.#source.from, target, signal);
      return { manifestDigest: await this.#copiedDigest(signal) };
    }
    const source = fetchedSource(this.#source, settings, this.log, (error) => {
      this.retrying(error);
    });
    const placed = placedSource(source, place, settings.minSourceSpeed);
    return resultOf(await this.runImport(place)(placed, importOptions(settings.image, checksums), signal));
  }

  async #copiedDigest(signal: AbortSignal): Promise<string> {
    const destination = this.deps.place.destination(this.job.target);
    try {
      return (await destination.current(signal))?.manifestDigest ?? "";
    } finally {
      await destination.close();
    }
  }
}
