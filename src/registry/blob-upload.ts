/**
 * A blob of unknown length on its way into a registry: bounded PATCHes whose bytes are kept until acknowledged.
 *
 *   write() --> gathered chunks --> one PATCH in flight --> acknowledged: its chunks are the caller's again
 *
 * After a fault the session is asked what it holds and the PATCH goes on from there. What has been acknowledged is kept
 * only where the registry has shown that it may lose it and the caller gave a place for it; then a lost session is begun
 * again from that copy. Without one it ends the upload, with `sessionLost` on the error.
 */
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import type { LayerBacklog, LayerInsurance, LayerUpload } from "../destination/destination.ts";
import { REQUEST_BYTES, REQUEST_CHUNKS } from "../layer/layer-buffers.ts";
import { cancellation, throwIfCancelled } from "../retry/cancel.ts";
import { FailureError } from "../retry/failure.ts";
import { Backoff, decide } from "../retry/retry.ts";
import { statBlob } from "./blobs.ts";
import type { RegistryClient } from "./client.ts";
import { RegistryError } from "./errors.ts";
import { UploadSession, type SessionPosition } from "./upload-session.ts";

export interface BlobUploadOptions {
  /** Bytes of one PATCH; a chunk is never split, so a larger one is a PATCH of its own. Default 8 MiB. */
  readonly patchBytes?: number;
  /** Chunks of one PATCH at most: a caller with a pool of small ones must get some back before it runs dry. Default 12. */
  readonly patchChunks?: number;
  /** What was gathered is sent when nothing came after it for this long. Default 200 ms. */
  readonly flushAfterMs?: number;
  /** How long abort() may take. Default 10 s. */
  readonly abortGraceMs?: number;
  /** Told the path of a session that abort() could not remove. */
  readonly onOrphan?: (sessionPath: string) => void;
  /** Where acknowledged bytes are kept, if the registry may lose them. */
  readonly insurance?: LayerInsurance;
  /** Where bytes wait while the registry takes none. Missing: their writers wait. */
  readonly backlog?: LayerBacklog;
  /** How long a PATCH may be under way before the backlog is used. Default 20 s. */
  readonly backlogAfterMs?: number;
  /** Told how many acknowledged bytes a new session is given again from the insurance. */
  readonly onRestart?: (bytes: number) => void;
}

interface Pending {
  readonly chunk: Uint8Array;
  /** Taken over: its writer has been told already. */
  readonly isCopy?: boolean;
  readonly resolve: () => void;
  readonly reject: (error: DvcrError) => void;
}

interface Batch {
  readonly start: number;
  readonly end: number;
  readonly chunks: readonly Pending[];
}

const defaults = {
  patchBytes: REQUEST_BYTES,
  patchChunks: REQUEST_CHUNKS,
  flushAfterMs: 200,
  abortGraceMs: 10_000,
  backlogAfterMs: 20_000,
  onOrphan: () => {},
  onRestart: () => {},
};

/** A registry that loses every session it is given will not keep the next one either. */
const maxRestarts = 20;

export class BlobUpload implements LayerUpload {
  readonly #client: RegistryClient;
  readonly #repository: string;
  readonly #options: Required<Omit<BlobUploadOptions, "insurance" | "backlog">>;
  /** Nothing where none was given, none is needed or there was no room. */
  #insurance: LayerInsurance | undefined;
  /** True once the registry was seen to lose sessions. */
  #mustKeep = false;
  #restarts = 0;
  /** Ends waiting: the caller's signal, or abort(). */
  readonly #stopped = new AbortController();
  readonly #signal: AbortSignal;
  /** Cuts the connection. Later than the above: a PATCH that was cut can leave a session that nothing removes. */
  readonly #cut = new AbortController();
  #session: UploadSession;
  #queue: Pending[] = [];
  #queuedBytes = 0;
  /** Bytes that the registry has acknowledged. */
  #acknowledged = 0;
  #busy: Promise<void> | undefined;
  readonly #backlog: LayerBacklog | undefined;
  /** The PATCH under way takes long: what is written meanwhile goes into the backlog. */
  #isAway = false;
  /** Queued chunks on their way into the backlog. */
  #stowing: Promise<void> | undefined;
  #flushTimer: NodeJS.Timeout | undefined;
  #flushDue = false;
  /** Nothing follows what was gathered. */
  #committing = false;
  #failure: DvcrError | undefined;
  #ended = false;

  private constructor(
    client: RegistryClient,
    repository: string,
    session: UploadSession,
    signal: AbortSignal,
    options: BlobUploadOptions,
  ) {
    this.#client = client;
    this.#repository = repository;
    this.#session = session;
    const { insurance, backlog, ...others } = options;
    this.#backlog = backlog;
    this.#options = { ...defaults, ...others };
    this.#insurance = insurance;
    this.#signal = AbortSignal.any([signal, this.#stopped.signal]);
    this.#signal.addEventListener("abort", () => this.#fail(cancellation(this.#signal)), { once: true });
  }

  /**
   * Opens the session, tried again by the table. A request under way outlives `signal` for half of the grace time: one
   * that was cut may have opened a session that nobody knows. @throws RegistryError.
   */
  static async begin(
    client: RegistryClient,
    repository: string,
    signal: AbortSignal,
    options: BlobUploadOptions = {},
  ): Promise<BlobUpload> {
    const cut = new AbortController();
    let cutting: NodeJS.Timeout | undefined;
    const cutLater = (): void => {
      cutting = setTimeout(() => cut.abort(signal.reason), (options.abortGraceMs ?? defaults.abortGraceMs) / 2);
    };
    signal.addEventListener("abort", cutLater, { once: true });
    const opening = client.retrying(() => UploadSession.startOnce(client, repository, cut.signal), signal);
    const session = await opening.finally(() => {
      signal.removeEventListener("abort", cutLater);
      clearTimeout(cutting);
    });
    const upload = new BlobUpload(client, repository, session, signal, options);
    if (signal.aborted) {
      await upload.abort();
      throw cancellation(signal);
    }
    return upload;
  }

  /** Bytes that the registry has acknowledged. */
  get acknowledgedBytes(): number {
    return this.#acknowledged;
  }

  /** How often a new session was filled from the insurance. */
  get restarts(): number {
    return this.#restarts;
  }

  write(chunk: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (chunk.byteLength === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#queue.push({ chunk, resolve, reject });
      this.#queuedBytes += chunk.byteLength;
      this.#flushDue = false;
      this.#flushTimer ??= setTimeout(() => {
        this.#flushDue = true;
        this.#advance();
      }, this.#options.flushAfterMs);
      this.#flushTimer.refresh();
      this.#advance();
      this.#stow();
    });
  }

  async commit(digest: string, size: number): Promise<void> {
    this.#committing = true;
    while (
      this.#failure === undefined &&
      (this.#busy !== undefined || this.#stowing !== undefined || this.#hasMore())
    ) {
      this.#flushDue = true;
      this.#advance();
      await this.#busy;
      await this.#stowing;
    }
    clearTimeout(this.#flushTimer);
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#acknowledged !== size) {
      throw new DvcrError(
        "E_INTERNAL",
        `the registry was sent ${String(this.#acknowledged)} bytes of the layer, not ${String(size)}`,
      );
    }
    const putting = this.#put(digest, size);
    this.#busy = putting.then(
      () => {},
      () => {},
    );
    await this.#orStopped(putting);
    this.#ended = true;
  }

  /** Lets the PATCH in flight end for half of the grace time, then removes the session in the rest. */
  async abort(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#flushTimer);
    this.#stopped.abort(new DvcrError("E_CANCELLED", "the upload was dropped"));
    const limit = AbortSignal.timeout(this.#options.abortGraceMs);
    const cutting = setTimeout(() => this.#cut.abort(), this.#options.abortGraceMs / 2);
    await this.#busy;
    await this.#stowing;
    clearTimeout(cutting);
    try {
      await this.#session.cancel(limit);
    } catch {
      this.#options.onOrphan(this.#session.path);
    }
  }

  /** Starts the next PATCH where none is in flight and there is reason to. */
  #advance(): void {
    // What is on its way into the backlog is older than the queue, and what is in it older still.
    if (this.#busy !== undefined || this.#stowing !== undefined || this.#failure !== undefined || !this.#hasMore())
      return;
    const { patchBytes, patchChunks } = this.#options;
    const least = this.#session.leastPatch;
    if ((this.#backlog?.size ?? 0) > 0) {
      this.#startFromBacklog(Math.max(patchBytes, least));
      return;
    }
    const full = this.#queuedBytes >= Math.max(patchBytes, least) || this.#queue.length >= patchChunks;
    if (!full && !this.#flushDue) return;
    if (this.#queuedBytes < least && !this.#committing) {
      this.#takeOver();
      return;
    }
    this.#start(
      least > 0 ? this.#takeBatch(this.#queuedBytes, this.#queue.length) : this.#takeBatch(patchBytes, patchChunks),
    );
  }

  #start(batch: Batch): void {
    const late = setTimeout(() => {
      this.#isAway = true;
      this.#stow();
    }, this.#options.backlogAfterMs);
    this.#busy = this.#deliver(batch)
      .finally(() => {
        clearTimeout(late);
        this.#isAway = false;
      })
      .then(
        () => {
          for (const { resolve } of batch.chunks) resolve();
          this.#busy = undefined;
          this.#advance();
        },
        (error: unknown) => {
          const failure = this.#fail(toDvcrError(error));
          for (const { reject } of batch.chunks) reject(failure);
          this.#busy = undefined;
        },
      );
    // Writers learn of a cancellation at once, not when the PATCH that may still end well has ended.
    this.#orStopped(this.#busy).catch(() => {
      for (const { reject } of batch.chunks) reject(cancellation(this.#signal));
    });
  }

  /** The next PATCH is what has waited longest. */
  #startFromBacklog(mostBytes: number): void {
    this.#busy = this.#backlog!.take(mostBytes).then(
      (pieces) => {
        const bytes = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
        const chunks = pieces.map((chunk) => ({ chunk, resolve: () => {}, reject: () => {} }));
        this.#start({ start: this.#acknowledged, end: this.#acknowledged + bytes, chunks });
      },
      (error: unknown) => {
        this.#fail(toDvcrError(error));
        this.#busy = undefined;
      },
    );
  }

  /** While the registry is away: what is queued goes into the backlog, as far as there is room, and its writers go on. */
  #stow(): void {
    if (!this.#isAway || this.#backlog === undefined || this.#stowing !== undefined || this.#queue.length === 0) return;
    const moved = this.#queue.splice(0);
    const bytes = this.#queuedBytes;
    this.#queuedBytes = 0;
    this.#stowing = this.#backlog.append(moved.map(({ chunk }) => chunk)).then((fits) => {
      this.#stowing = undefined;
      if (fits) {
        for (const { resolve } of moved) resolve();
      } else if (this.#failure === undefined) {
        this.#queue.unshift(...moved);
        this.#queuedBytes += bytes;
        this.#isAway = false;
      } else {
        for (const { reject } of moved) reject(this.#failure);
      }
      this.#advance();
      this.#stow();
    });
  }

  #hasMore(): boolean {
    return this.#queue.length > 0 || (this.#backlog?.size ?? 0) > 0;
  }

  /** What is too little for a PATCH here is copied, so that the caller has its chunks back and can send more. */
  #takeOver(): void {
    this.#queue = this.#queue.map((pending) => {
      if (pending.isCopy === true) return pending;
      const { chunk, resolve, reject } = pending;
      const copy = { chunk: Buffer.from(chunk), resolve, reject, isCopy: true };
      resolve();
      return copy;
    });
  }

  #takeBatch(mostBytes: number, mostChunks: number): Batch {
    let bytes = 0;
    let count = 0;
    for (const { chunk } of this.#queue) {
      if (count > 0 && (bytes + chunk.byteLength > mostBytes || count >= mostChunks)) break;
      bytes += chunk.byteLength;
      count += 1;
    }
    this.#queuedBytes -= bytes;
    return { start: this.#acknowledged, end: this.#acknowledged + bytes, chunks: this.#queue.splice(0, count) };
  }

  async #deliver(batch: Batch): Promise<void> {
    const keeping = this.#mustKeep ? this.#keep(batch) : Promise.resolve();
    await this.#persist(
      async () => {
        await keeping;
        await this.#synchronise(batch);
      },
      () => this.#send(batch),
    );
    await keeping;
    if (batch.start === 0 && this.#insurance !== undefined) await this.#probe(batch);
  }

  /** While the first batch is still in hand: finds out whether what the registry acknowledges must be kept. */
  async #probe(first: Batch): Promise<void> {
    const survives = await this.#session.survivesCut(this.#signal).catch(() => false);
    throwIfCancelled(this.#signal);
    if (survives) {
      this.#insurance = undefined;
      return;
    }
    this.#mustKeep = true;
    await this.#keep(first);
  }

  async #keep(batch: Batch): Promise<void> {
    const kept = await this.#insurance?.append(batch.chunks.map(({ chunk }) => chunk));
    if (kept === true) return;
    this.#insurance = undefined;
    this.#mustKeep = false;
  }

  /** Sends what the registry has not acknowledged up to the batch's end: after a restart also what came before it. */
  async #send(batch: Batch): Promise<void> {
    while (this.#acknowledged < batch.end) {
      const from = this.#acknowledged;
      const again = from < batch.start;
      const end = again ? Math.min(from + this.#options.patchBytes, batch.start) : batch.end;
      const body = () => (again ? this.#insurance!.read(from, end - from) : bytesFrom(batch, from));
      await this.#session.patch(from, end - from, body, this.#cut.signal);
      this.#acknowledged = end;
      if (again) throwIfCancelled(this.#signal);
    }
  }

  async #put(digest: string, size: number): Promise<void> {
    const all: Batch = { start: size, end: size, chunks: [] };
    let done = false;
    await this.#persist(
      async () => {
        // A PUT whose answer was lost may have done its work, and has then ended the session.
        done = (await statBlob(this.#client, this.#repository, digest, this.#signal)) === size;
        if (!done) await this.#synchronise(all);
      },
      async () => {
        if (done) return;
        await this.#send(all);
        await this.#session.put(digest, size, this.#cut.signal);
      },
    );
  }

  /** Runs `attempt`; after a fault that the table lets pass, waits, runs `recover`, and then `attempt` again. */
  async #persist(recover: () => Promise<void>, attempt: () => Promise<void>): Promise<void> {
    const backoff = new Backoff(this.#client.retry, this.#client.clock);
    let reached = this.#acknowledged;
    for (let tries = 0; ; tries++) {
      throwIfCancelled(this.#signal);
      try {
        if (tries > 0) await recover();
        await attempt();
        return;
      } catch (error) {
        if (this.#signal.aborted) throw cancellation(this.#signal);
        if (!(error instanceof FailureError) || (error instanceof RegistryError && error.sessionLost)) throw error;
        if (decide(error.failure, "transfer", "registry") === "give-up") throw error;
        if (this.#acknowledged > reached) backoff.reset();
        reached = this.#acknowledged;
        const waited = await backoff.wait(this.#signal, {
          retryAfterMs: error.failure.retryAfterMs,
          onWait: (delayMs) => this.#client.onRetry?.({ error, delayMs }),
        });
        if (!waited) throw error;
      }
    }
  }

  /** Takes over the registry's view of the session, or starts a new one where everything sent is still at hand. */
  async #synchronise(batch: Batch): Promise<void> {
    const position: SessionPosition = await this.#session.position(this.#signal);
    const insured = (this.#insurance?.size ?? 0) >= batch.start;
    // From 1 on: without a Range in its answer a registry says nothing of what it holds.
    if (
      typeof position === "number" &&
      position >= (insured ? Math.min(1, batch.start) : batch.start) &&
      position <= batch.end
    ) {
      this.#acknowledged = position;
      return;
    }
    if (!insured || this.#restarts === maxRestarts) throw await this.#sessionLost();
    // `0-0` too: an empty session and one with a byte look alike, and 2.8 would append without a check.
    const old = this.#session;
    this.#session = await UploadSession.startOnce(this.#client, this.#repository, this.#signal);
    this.#acknowledged = 0;
    if (batch.start > 0) {
      this.#restarts += 1;
      this.#options.onRestart(batch.start);
    }
    if (position !== "gone") await old.cancel(this.#signal).catch(() => this.#options.onOrphan(old.path));
  }

  /** A registry that is full loses sessions too; what a new one meets is then the reason worth telling. */
  async #sessionLost(): Promise<DvcrError> {
    const probe = await UploadSession.startOnce(this.#client, this.#repository, this.#signal).catch((error: unknown) =>
      toDvcrError(error),
    );
    if (probe instanceof UploadSession) {
      await this.#session.cancel(this.#signal).catch(() => this.#options.onOrphan(this.#session.path));
      this.#session = probe;
    } else if (probe instanceof FailureError && decide(probe.failure, "request", "registry") === "give-up") {
      return probe;
    }
    const sent = `${String(this.#acknowledged)} bytes of it were acknowledged`;
    return new RegistryError(
      "E_REGISTRY_UNAVAILABLE",
      `registry ${this.#client.host} has lost the upload, ${sent}`,
      {},
      { sessionLost: true },
    );
  }

  /** The first failure is the upload's; everything that waits is told. */
  #fail(error: DvcrError): DvcrError {
    this.#failure ??= error;
    clearTimeout(this.#flushTimer);
    for (const { reject } of this.#queue.splice(0)) reject(this.#failure);
    this.#queuedBytes = 0;
    return this.#failure;
  }

  /** `work`, or the cancellation where that comes first. */
  #orStopped<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const stop = () => reject(cancellation(this.#signal));
      if (this.#signal.aborted) stop();
      this.#signal.addEventListener("abort", stop, { once: true });
      void work.then(resolve, reject).finally(() => this.#signal.removeEventListener("abort", stop));
    });
  }
}

/** The batch's bytes from absolute `offset` on, without a copy. */
function* bytesOf(batch: Batch, offset: number): Generator<Uint8Array> {
  let at = batch.start;
  for (const { chunk } of batch.chunks) {
    const skip = Math.max(0, offset - at);
    at += chunk.byteLength;
    if (skip < chunk.byteLength) yield skip === 0 ? chunk : chunk.subarray(skip);
  }
}

// eslint-disable-next-line @typescript-eslint/require-await -- undici streams async iterables only
async function* bytesFrom(batch: Batch, offset: number): AsyncGenerator<Uint8Array> {
  yield* bytesOf(batch, offset);
}
