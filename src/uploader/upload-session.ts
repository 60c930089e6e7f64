import { setTimeout as delay } from "node:timers/promises";
import type { Checksum } from "../config/kinds.ts";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import type { ImportReport } from "../pipeline/import-image.ts";
import type { Outcome } from "../process/outcome.ts";
import { INTERNAL_RETRIES } from "../retry/attempts.ts";
import type { BodyReader } from "./body-reader.ts";
import type { HeldBytes } from "./upload-memory.ts";
import { Upload, type StartImport, type UploadPlan } from "./upload.ts";

/**
 * How the upload stands:
 *
 *   idle --> receiving <--> interrupted        given up after a time, or where the import failed in passing --> idle
 *                |
 *                v
 *            importing (all bytes are in) --> stored | refused, after which the process ends
 */
export type UploadState = "idle" | "receiving" | "interrupted" | "importing" | "stored" | "refused";

export interface UploadStatus {
  readonly state: UploadState;
  /** Bytes that need not be sent again. */
  readonly offset: number;
  readonly total: number | undefined;
  readonly isComplete: boolean;
  /** The file that all of these bytes are of, where every request that brought some told it. */
  readonly fileIdentity: string | undefined;
  readonly verdict: Outcome | undefined;
}

export interface UploadSessionOptions {
  readonly startImport: StartImport;
  /** Called once, before the client is answered: an image is stored, or what was sent can never become one. */
  readonly onVerdict: (verdict: Outcome) => void;
  /** Called once: the verdict was told to a client, or none came for it. */
  readonly onDone: () => void;
  /** Milliseconds that an interrupted upload waits to be continued. */
  readonly resumeTimeout: number;
  /** Milliseconds without a byte after which endSilentConnection() ends a connection. */
  readonly silence: number;
  /** Milliseconds that the verdict is kept where no client waits for it. */
  readonly resultTime: number;
  /** Bytes that a file may have at most, as it is sent. */
  readonly maxUploadSize?: number;
  /** Milliseconds after which a little more is read from a client that is held back. Default 20 s. */
  readonly sipInterval?: number;
  /** What the uploads of this owner may hold while they wait. Default: as much as one upload takes. */
  readonly memory?: HeldBytes;
  /** Called when the state may have changed: an upload began, was cut, was given up or ended. */
  readonly onChange?: () => void;
}

interface Connection {
  readonly reader: BodyReader;
  /** Resolves when it no longer feeds the upload. */
  readonly settled: Promise<void>;
}

/** The one upload of this process: which it is, which connection feeds it, and its verdict. */
export class UploadSession {
  readonly #options: UploadSessionOptions;
  #upload: Upload | undefined;
  #connection: Connection | undefined;
  /** One request has the upload: from begin() or resume() to receive()'s end or release(). */
  #isTaken = false;
  #verdict: Outcome | undefined;
  /** Uploads that a fault of the program has ended. */
  #faults = 0;
  #resumeTimer: NodeJS.Timeout | undefined;
  #doneTimer: NodeJS.Timeout | undefined;
  /** Clients that wait for the verdict; each tells whether it is still there. */
  readonly #audience = new Set<() => boolean>();

  constructor(options: UploadSessionOptions) {
    this.#options = options;
  }

  status(): UploadStatus {
    const upload = this.#upload;
    return {
      state: this.#state(),
      offset: upload?.offset ?? 0,
      total: upload?.total,
      isComplete: upload?.isWhole ?? false,
      fileIdentity: upload?.fileIdentity,
      verdict: this.#verdict,
    };
  }

  /** The upload by tus of this name, also after its verdict. */
  byId(id: string): Upload | undefined {
    return this.#upload?.plan.id === id ? this.#upload : undefined;
  }

  /** The upload that has every byte of the very same file, known by its size and a checksum over all of it. */
  sameFile(total: number | undefined, checksums: readonly Checksum[]): Upload | undefined {
    const upload = this.#upload;
    if (upload === undefined || !upload.isWhole || upload.total !== total || checksums.length === 0) return undefined;
    const known = upload.plan.checksums;
    const isKnown = (one: Checksum): boolean =>
      known.some(({ algorithm, expected }) => algorithm === one.algorithm && expected === one.expected);
    return checksums.every(isKnown) ? upload : undefined;
  }

  /**
   * A new upload, taken for receive() or release(); one that was interrupted is cancelled first, and waited for. Throws
   * E_BUSY, E_UPLOAD_DONE, E_TOO_LARGE or E_UPLOAD_MEMORY.
   */
  async begin(plan: UploadPlan): Promise<Upload> {
    this.#take();
    try {
      const start: StartImport = async (source, declared, signal) =>
        await this.#judged(this.#options.startImport(source, declared, signal));
      const upload = new Upload(plan, start, {
        most: this.#options.maxUploadSize,
        sipInterval: this.#options.sipInterval,
        memory: this.#options.memory,
      });
      await this.#drop(new DvcrError("E_CANCELLED", "the upload was started over"));
      this.#options.memory?.admit();
      this.#upload = upload;
    } catch (error) {
      this.release();
      throw error;
    }
    this.#options.onChange?.();
    return this.#upload;
  }

  /**
   * The interrupted upload, taken for receive() or release(), to go on at `offset` of `total` bytes of the file that
   * its client calls `identity`. Throws E_BUSY, E_UPLOAD_DONE, or E_UPLOAD_OFFSET when it stands elsewhere, is another
   * file, or there is none.
   */
  resume(offset: number, total: number | undefined, identity?: string): Upload {
    const { state, offset: reached } = this.status();
    if (state === "idle" || state === "importing" || (state === "interrupted" && offset !== reached)) {
      throw new DvcrError("E_UPLOAD_OFFSET", `the upload stands at offset ${reached}, not at ${offset}`);
    }
    this.#take();
    const upload = this.#upload!;
    try {
      upload.continueAs(identity);
      if (total !== undefined) upload.declareTotal(total);
    } catch (error) {
      this.release();
      throw error;
    }
    return upload;
  }

  /**
   * Feeds the upload that was taken from one request, by `pass`. Throws what ended the connection, after which the
   * upload can be continued, or the import.
   */
  async receive(
    upload: Upload,
    reader: BodyReader,
    pass: (reader: BodyReader, upload: Upload) => Promise<void>,
  ): Promise<void> {
    let settle: () => void = () => undefined;
    const settled = new Promise<void>((resolve) => {
      settle = resolve;
    });
    this.#connection = { reader, settled };
    // An import that fails ends the wait for the client's next bytes.
    upload.result().catch((error: unknown) => reader.stop(toDvcrError(error)));
    try {
      await pass(reader, upload);
    } finally {
      reader.stop();
      this.#connection = undefined;
      this.release();
      settle();
    }
  }

  /** The request that took the upload is done with it; another may continue it for some time. */
  release(): void {
    this.#isTaken = false;
    clearTimeout(this.#resumeTimer);
    this.#options.onChange?.();
    if (this.#state() !== "interrupted") return;
    this.#resumeTimer = setTimeout(() => {
      void this.#drop(new DvcrError("E_CLIENT_GONE", "the upload was not continued in time"));
    }, this.#options.resumeTimeout);
  }

  /** Ends `upload` without a verdict, with the connection that feeds it. Throws E_UPLOAD_DONE after the verdict. */
  async discard(upload: Upload): Promise<void> {
    if (this.#verdict !== undefined) throw new DvcrError("E_UPLOAD_DONE", "the upload has ended already");
    if (upload !== this.#upload) return;
    const reason = new DvcrError("E_CANCELLED", "the upload was ended by its client");
    const connection = this.#connection;
    connection?.reader.stop(reason);
    await connection?.settled;
    await this.#drop(reason);
  }

  /**
   * Ends a connection that has brought nothing for some time, and waits for it; one that brings bytes is left alone.
   */
  async endSilentConnection(): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) return;
    const { silence } = this.#options;
    // What has arrived already is taken in, or a client that is gone could not be told from a slow import.
    this.#upload?.stretch();
    const since = connection.reader.waitingSince;
    const wait = since === undefined ? silence : Math.max(0, since + silence - performance.now());
    const waited = new AbortController();
    await Promise.race([connection.settled, delay(wait, undefined, { signal: waited.signal }).catch(() => undefined)]);
    waited.abort();
    const silentSince = connection.reader.waitingSince;
    // The timer may be early by a fraction of a millisecond.
    if (this.#connection !== connection || silentSince === undefined || performance.now() - silentSince < silence - 1)
      return;
    connection.reader.stop(
      new DvcrError("E_CLIENT_STALLED", `no data had come for ${silence / 1000} seconds when another request asked`),
    );
    await connection.settled;
  }

  /**
   * From now on a client waits for the verdict; `isThere` tells whether it can still be answered. Gives what ends it.
   */
  attend(isThere: () => boolean): () => void {
    this.#audience.add(isThere);
    return () => this.#audience.delete(isThere);
  }

  /** A client has the verdict: there is nothing more to stay for. */
  told(): void {
    if (this.#verdict === undefined) return;
    clearTimeout(this.#doneTimer);
    this.#options.onDone();
  }

  /** Ends whatever runs and waits until nothing of it remains. */
  async close(reason: DvcrError): Promise<void> {
    clearTimeout(this.#doneTimer);
    await this.#drop(reason);
  }

  #state(): UploadState {
    if (this.#verdict !== undefined) return this.#verdict.kind === "stored" ? "stored" : "refused";
    if (this.#upload?.isWhole === true) return "importing";
    if (this.#isTaken) return "receiving";
    return this.#upload === undefined ? "idle" : "interrupted";
  }

  #take(): void {
    const state = this.#state();
    if (state === "stored" || state === "refused") throw new DvcrError("E_UPLOAD_DONE", "the upload has ended already");
    if (this.#isTaken || state === "importing") throw new DvcrError("E_BUSY", "another upload is running");
    this.#isTaken = true;
    clearTimeout(this.#resumeTimer);
  }

  /** Cancels the current upload, if there is one. */
  async #drop(reason: DvcrError): Promise<void> {
    clearTimeout(this.#resumeTimer);
    const upload = this.#upload;
    await upload?.cancel(reason);
    // A request that ended meanwhile has found the upload still there, and left it for another to continue.
    if (this.#upload === upload || this.#upload === undefined) clearTimeout(this.#resumeTimer);
    if (this.#upload === upload && this.#verdict === undefined) this.#upload = undefined;
    this.#options.onChange?.();
  }

  /**
   * The import's result, after its verdict. What may go better the next time lets another upload come, a fault of the
   * program a few times; everything else is the verdict.
   */
  async #judged(running: Promise<ImportReport>): Promise<ImportReport> {
    try {
      const report = await running;
      this.#conclude({ kind: "stored", report });
      return report;
    } catch (thrown) {
      const error = toDvcrError(thrown);
      if (error.code === "E_INTERNAL") this.#faults += 1;
      if (error.mayPass || (error.code === "E_INTERNAL" && this.#faults <= INTERNAL_RETRIES)) {
        this.#upload = undefined;
        this.#options.onChange?.();
      } else this.#conclude({ kind: "failed", error });
      throw error;
    }
  }

  #conclude(verdict: Outcome): void {
    this.#verdict = verdict;
    clearTimeout(this.#resumeTimer);
    this.#options.onVerdict(verdict);
    if ([...this.#audience].some((isThere) => isThere())) this.told();
    else this.#doneTimer = setTimeout(() => this.told(), this.#options.resultTime);
  }
}
