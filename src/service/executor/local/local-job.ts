import { toDvcrError, type DvcrError } from "../../../errors/dvcr-error.ts";
import type { Logger } from "../../../log/logger.ts";
import { ProgressTracker } from "../../../metrics/progress.ts";
import { trackedImport, type TrackedImport } from "../../../metrics/tracked-import.ts";
import type { ImportReport, RunningImport } from "../../../pipeline/import-image.ts";
import type { ImportJob, JobResult, JobState, RunningJob, WaitsFor } from "../executor.ts";
import type { Place } from "./place.ts";
import { PlacedDestination } from "./placed-destination.ts";
import type { Places } from "./places.ts";
import { withServiceRemedy } from "./remedies.ts";
import type { ExecutorDeps } from "./settings.ts";

const sampleMilliseconds = 1000;
/** A wait that is shorter is no news, in milliseconds. */
const noticedTurnMs = 2000;
const noticedSourceMs = 10_000;

/** What moves again when the source, or the place for images, is back. */
type Counter = "sourceBytes" | "layerBytes";

/** What the jobs of this process share: their state, whom to tell of it, and how they are stopped. */
export abstract class LocalJob implements RunningJob {
  readonly job: ImportJob;
  protected readonly deps: ExecutorDeps;
  protected readonly log: Logger;
  readonly #abort = new AbortController();
  readonly #listeners = new Set<() => void>();
  #tracker = new ProgressTracker();
  #state: JobState = { phase: "queued", sourceBytes: 0, percent: 0, averageSpeed: 0, currentSpeed: 0 };
  #running: RunningImport | undefined;
  #place: Place | undefined;
  /** CPU seconds of the attempts that have ended. */
  #cpuBefore = 0;
  #sampler: NodeJS.Timeout | undefined;
  /** How far which attempt had come at the failure that is being tried again, by the counter of where it failed. */
  #failedAt:
    { readonly running: RunningImport | undefined; readonly counter: Counter; readonly bytes: number } | undefined;

  constructor(job: ImportJob, deps: ExecutorDeps) {
    this.job = job;
    this.deps = deps;
    this.log = deps.log.child({ image: job.label, uid: job.uid });
  }

  state(): JobState {
    return this.#state;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Begins; the job then goes on by itself. */
  abstract start(): void;

  /** Cancels it and waits until nothing of it remains. Nobody is told any more. Never throws. */
  async stop(reason: DvcrError): Promise<void> {
    this.#listeners.clear();
    this.#abort.abort(reason);
    await this.ended(reason);
    clearInterval(this.#sampler);
  }

  /** Resolves when nothing of the job runs; its signal has been aborted for `reason`. */
  protected abstract ended(reason: DvcrError): Promise<void>;

  /** Aborted when the job is stopped. */
  protected get signal(): AbortSignal {
    return this.#abort.signal;
  }

  protected change(change: Partial<JobState>): void {
    this.#state = { ...this.#state, ...change };
    for (const listener of this.#listeners) listener();
  }

  /**
   * Runs `work` when the job's turn comes. Its signal is aborted with the given one, and where it must give way to
   * others.
   */
  protected async inTurn<T>(
    places: Places,
    signal: AbortSignal,
    work: (place: Place, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const gaveWay = new AbortController();
    const member = {
      namespace: this.job.namespace,
      signal: AbortSignal.any([signal, gaveWay.signal]),
      cpuSeconds: () => this.#cpuBefore + (this.#running?.progress().cpuSeconds ?? 0),
      end: (reason: DvcrError) => gaveWay.abort(reason),
    };
    try {
      return await places.run(member, (place) => work((this.#place = place), member.signal));
    } finally {
      this.#cpuBefore = member.cpuSeconds();
      this.#running = this.#place = undefined;
    }
  }

  /** One attempt at importing a source into the job's target, its progress shown in the state. */
  protected runImport(place: Place): TrackedImport {
    const { importImage, place: images, beforeStored } = this.deps;
    const opened = () =>
      images.destination(this.job.target, (error) => {
        this.retrying(error, "layerBytes");
      });
    return trackedImport({
      importImage: (...args) => (this.#running = importImage(...args)),
      openDestination: () =>
        new PlacedDestination(opened(), { place, check: (bytes) => beforeStored(this.job.uid, bytes) }),
      tracker: this.#tracker,
      log: this.log,
    });
  }

  /** Another file comes in place of the one before: its progress begins at 0. */
  protected startOver(): void {
    this.#tracker = new ProgressTracker();
    this.#failedAt = undefined;
    this.change({ sourceBytes: 0, percent: 0, averageSpeed: 0, currentSpeed: 0, retrying: undefined });
  }

  /** `error` is being tried again, in this attempt or by another one: told until `counter` moves again. */
  protected retrying(error: DvcrError, counter: Counter = "sourceBytes"): void {
    this.#failedAt = { running: this.#running, counter, bytes: this.#count(counter) };
    this.change({ retrying: withServiceRemedy(error) });
  }

  /** Samples progress and speed while `work` runs. */
  protected async sampled<T>(work: () => Promise<T>): Promise<T> {
    this.#sampler = setInterval(() => {
      this.#sample();
    }, sampleMilliseconds);
    try {
      return await work();
    } catch (error) {
      throw withServiceRemedy(toDvcrError(error));
    } finally {
      clearInterval(this.#sampler);
      this.#sample();
    }
  }

  #sample(): void {
    const { percent, averageSpeed, currentSpeed, sourceBytes } = this.#tracker.sample();
    const sourceSize = this.#running?.progress().sourceSize;
    const failed = this.#failedAt;
    const flowsAgain =
      failed !== undefined && this.#count(failed.counter) > (failed.running === this.#running ? failed.bytes : 0);
    if (flowsAgain) this.#failedAt = undefined;
    this.change({
      waitsFor: this.waitsFor(),
      percent,
      averageSpeed,
      currentSpeed,
      // A new attempt begins at 0 again.
      sourceBytes: Math.max(this.#state.sourceBytes, sourceBytes),
      ...(sourceSize === undefined ? {} : { sourceSize }),
      ...(flowsAgain ? { retrying: undefined } : {}),
    });
  }

  /** What keeps the job from going on, where that has lasted. */
  protected waitsFor(): WaitsFor | undefined {
    const place = this.#place;
    if (place === undefined) return undefined;
    if (place.waitedFor() >= noticedTurnMs) return { what: "turn" };
    const name = nameOf(this.job);
    return name !== undefined && place.idleFor() >= noticedSourceMs ? { what: "source", name } : undefined;
  }

  /** By the attempt that runs, or ran last. */
  #count(counter: Counter): number {
    return this.#running?.progress()[counter] ?? 0;
  }

  protected stored(result: JobResult): void {
    this.log.info(
      {
        digest: result.manifestDigest,
        format: result.format,
        virtualSize: result.virtualSize,
        storedSize: result.storedSize,
      },
      "image stored",
    );
    this.change({ phase: "stored", percent: 100, currentSpeed: 0, result, waitsFor: undefined });
  }

  protected failed(thrown: unknown): void {
    const error = toDvcrError(thrown);
    if (this.signal.aborted) return;
    this.log.error({ err: error }, "no image stored");
    this.change({ phase: "failed", currentSpeed: 0, error, waitsFor: undefined });
  }
}

/** What the reconciler is told of a stored image. */
export function resultOf({ manifestDigest, format, storedSize, virtualSize, averageSpeed }: ImportReport): JobResult {
  return { manifestDigest, format, storedSize, virtualSize, ...(averageSpeed > 0 ? { averageSpeed } : {}) };
}

/** The server that a job's bytes come from, without credentials and query. */
function nameOf({ source }: ImportJob): string | undefined {
  if (source.type === "registry") return source.image.split("/")[0];
  if (source.type !== "http" || !URL.canParse(source.url)) return undefined;
  return new URL(source.url).host;
}
