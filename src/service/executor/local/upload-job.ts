import { importOptions } from "../../../config/import-options.ts";
import { toDvcrError, type DvcrError } from "../../../errors/dvcr-error.ts";
import type { Outcome } from "../../../process/outcome.ts";
import { uploadHandlers, type UploadHandlers } from "../../../uploader/handlers.ts";
import type { HeldBytes } from "../../../uploader/upload-memory.ts";
import { withVhdFix } from "../../../uploader/source-format.ts";
import { UploadSession } from "../../../uploader/upload-session.ts";
import type { ImportJob, WaitsFor } from "../executor.ts";
import { LocalJob, resultOf } from "./local-job.ts";
import type { ExecutorDeps } from "./settings.ts";
import { placedSource } from "./placed-source.ts";
import type { Places } from "./places.ts";

const vhdFix =
  "Delete the image, create it again, and send the file with `dvcr upload --src-format vpc` " +
  "or the header DVCR-Source-Format: vpc, " +
  "or annotate the image with virtualization.deckhouse.io/source-format: vpc first.";

/** Waits for a file at its upload URL; whatever a client can mend may be tried again there. */
export class UploadJob extends LocalJob {
  readonly #token: string;
  readonly #session: UploadSession;
  /** What the routes of its URL do. */
  readonly handlers: UploadHandlers;

  constructor(job: ImportJob, token: string, deps: ExecutorDeps, places: Places, memory: HeldBytes) {
    super(job, deps);
    this.#token = token;
    const { settings } = deps;
    this.#session = new UploadSession({
      startImport: (source, { checksums, sourceFormat }, ended) => {
        const signal = AbortSignal.any([this.signal, ended]);
        this.startOver();
        return this.#refusedOr(
          this.sampled(() =>
            this.inTurn(places, signal, async (place, inTime) => {
              const placed = placedSource(source, place, 0);
              const options = importOptions(settings.image, checksums, sourceFormat);
              const report = await withVhdFix(this.runImport(place)(placed, options, inTime), vhdFix);
              // The client is told the image's public name, not where we keep it.
              return { ...report, image: deps.place.urlOf(job.target) };
            }),
          ),
        );
      },
      onVerdict: (verdict) => {
        this.#conclude(verdict);
      },
      onDone: () => undefined,
      onChange: () => {
        this.#show();
      },
      resumeTimeout: settings.uploadResumeTimeout * 1000,
      silence: settings.uploadSilence * 1000,
      resultTime: 0,
      maxUploadSize: settings.maxUploadSize,
      memory,
    });
    this.handlers = uploadHandlers({
      config: {
        checksums: job.checksums,
        maxVirtualSize: settings.image.maxVirtualSize,
        maxUploadSize: settings.maxUploadSize,
        uploadIdleTimeout: settings.uploadIdleTimeout,
        declaredFormat: () => deps.declaredFormatOf(job),
      },
      session: this.#session,
      signal: this.signal,
      secrets: [],
    });
  }

  start(): void {
    this.deps.tokens.add(this.#token, this);
    this.change({ phase: "waiting" });
  }

  get label(): string {
    return this.job.label;
  }

  /** Bytes that have arrived: where a client goes on. */
  get offset(): number {
    return this.#session.status().offset;
  }

  protected async ended(reason: DvcrError): Promise<void> {
    this.deps.tokens.remove(this.#token);
    await this.#session.close(reason);
  }

  /** What ended an upload that may be sent again is told until another one begins. */
  async #refusedOr<T>(running: Promise<T>): Promise<T> {
    try {
      return await running;
    } catch (thrown) {
      const error = toDvcrError(thrown);
      if (error.entry.kind === "retry" && !this.signal.aborted) this.retrying(error);
      throw error;
    }
  }

  /** An upload that was cut waits for its client, whoever else runs. */
  protected override waitsFor(): WaitsFor | undefined {
    const { state, offset, total } = this.#session.status();
    return state === "interrupted" ? { what: "client", offset, total } : super.waitsFor();
  }

  #conclude(verdict: Outcome): void {
    this.deps.tokens.remove(this.#token);
    if (verdict.kind === "failed") this.failed(verdict.error);
    else if ("storedSize" in verdict.report) this.stored(resultOf(verdict.report));
  }

  /** An upload that began, was cut or was given up; nothing after the verdict. */
  #show(): void {
    const { state, verdict } = this.#session.status();
    if (verdict !== undefined || this.signal.aborted) return;
    const before = this.state();
    const phase = state === "idle" ? "waiting" : "running";
    const waitsFor = this.waitsFor();
    if (before.phase !== phase || before.waitsFor?.what !== waitsFor?.what) this.change({ phase, waitsFor });
  }
}
