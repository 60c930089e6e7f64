/**
 * A blob of unknown length on its way into a registry: bounded PATCHes whose bytes are kept until acknowledged.
 *
 *   write() --> gathered chunks --> one PATCH in flight --> acknowledged: its chunks are the caller's again
 *
 * After a fault the session is asked what it holds and the PATCH goes on from there. What has been acknowledged is not
 * kept: a registry that loses it ends the upload, with `sessionLost` on the error.
 */
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import type { LayerUpload } from "../destination/destination.ts";
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
}

interface Pending {
  readonly chunk: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: DvcrError) => void;
}

interface Batch {
  readonly start: number;
  readonly end: number;
  readonly chunks: readonly Pending[];
}

const defaults = { patchBytes: 8 * 1024 * 1024, patchChunks: 12, flushAfterMs: 200, abortGraceMs: 10_000, onOrphan: () => {} };

export class BlobUpload implements LayerUpload {
  readonly #client: RegistryClient;
  readonly #repository: string;
  readonly #options: Required<BlobUploadOptions>;
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
  #flushTimer: NodeJS.Timeout | undefined;
  #flushDue = false;
  #failure: DvcrError | undefined;
  #ended = false;

  private constructor(client: RegistryClient, repository: string, session: UploadSession, signal: AbortSignal, options: BlobUploadOptions) {
    this.#client = client;
    this.#repository = repository;
    this.#session = session;
    this.#options = { ...defaults, ...options };
    this.#signal = AbortSignal.any([signal, this.#stopped.signal]);
    this.#signal.addEventListener("abort", () => this.#fail(cancellation(this.#signal)), { once: true });
  }

  /** Opens the session, tried again by the table. @throws RegistryError. */
  static async begin(client: RegistryClient, repository: string, signal: AbortSignal, options: BlobUploadOptions = {}): Promise<BlobUpload> {
    const session = await client.retrying(() => UploadSession.startOnce(client, repository, signal), signal);
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
    });
  }

  async commit(digest: string, size: number): Promise<void> {
    while (this.#failure === undefined && (this.#busy !== undefined || this.#queue.length > 0)) {
      this.#flushDue = true;
      this.#advance();
      await this.#busy;
    }
    clearTimeout(this.#flushTimer);
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#acknowledged !== size) {
      throw new DvcrError("E_INTERNAL", `the registry was sent ${String(this.#acknowledged)} bytes of the layer, not ${String(size)}`);
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
    clearTimeout(cutting);
    try {
      await this.#session.cancel(limit);
    } catch {
      this.#options.onOrphan(this.#session.path);
    }
  }

  /** Starts the next PATCH where none is in flight and there is reason to. */
  #advance(): void {
    if (this.#busy !== undefined || this.#failure !== undefined || this.#queue.length === 0) return;
    const full = this.#queuedBytes >= this.#options.patchBytes || this.#queue.length >= this.#options.patchChunks;
    if (!full && !this.#flushDue) return;
    const batch = this.#takeBatch();
    this.#busy = this.#deliver(batch).then(
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

  #takeBatch(): Batch {
    let bytes = 0;
    let count = 0;
    for (const { chunk } of this.#queue) {
      if (count > 0 && (bytes + chunk.byteLength > this.#options.patchBytes || count >= this.#options.patchChunks)) break;
      bytes += chunk.byteLength;
      count += 1;
    }
    this.#queuedBytes -= bytes;
    return { start: this.#acknowledged, end: this.#acknowledged + bytes, chunks: this.#queue.splice(0, count) };
  }

  async #deliver(batch: Batch): Promise<void> {
    await this.#persist(
      () => this.#synchronise(batch),
      async () => {
        if (this.#acknowledged === batch.end) return;
        const from = this.#acknowledged;
        await this.#session.patch(from, batch.end - from, () => bytesFrom(batch, from), this.#cut.signal);
        this.#acknowledged = batch.end;
      },
    );
  }

  async #put(digest: string, size: number): Promise<void> {
    let done = false;
    await this.#persist(
      async () => {
        // A PUT whose answer was lost may have done its work, and has then ended the session.
        done = (await statBlob(this.#client, this.#repository, digest, this.#signal)) === size;
        if (!done && (await this.#session.position(this.#signal)) !== size) throw await this.#sessionLost();
      },
      async () => {
        if (!done) await this.#session.put(digest, size, this.#cut.signal);
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

  /** Takes over the registry's view of the session, or starts a new one while everything sent is still in hand. */
  async #synchronise(batch: Batch): Promise<void> {
    const position: SessionPosition = await this.#session.position(this.#signal);
    if (typeof position === "number" && position >= batch.start && position <= batch.end) {
      this.#acknowledged = position;
      return;
    }
    if (batch.start > 0) throw await this.#sessionLost();
    // `0-0` too: an empty session and one with a byte look alike, and 2.8 would append without a check.
    const old = this.#session;
    this.#session = await UploadSession.startOnce(this.#client, this.#repository, this.#signal);
    this.#acknowledged = 0;
    if (position !== "gone") await old.cancel(this.#signal).catch(() => this.#options.onOrphan(old.path));
  }

  /** A registry that is full loses sessions too; what a new one meets is then the reason worth telling. */
  async #sessionLost(): Promise<DvcrError> {
    const probe = await UploadSession.startOnce(this.#client, this.#repository, this.#signal).catch((error: unknown) => toDvcrError(error));
    if (probe instanceof UploadSession) {
      await this.#session.cancel(this.#signal).catch(() => this.#options.onOrphan(this.#session.path));
      this.#session = probe;
    } else if (probe instanceof FailureError && decide(probe.failure, "request", "registry") === "give-up") {
      return probe;
    }
    const sent = `${String(this.#acknowledged)} bytes of it were acknowledged`;
    return new RegistryError("E_REGISTRY_UNAVAILABLE", `registry ${this.#client.host} has lost the upload, ${sent}`, {}, { sessionLost: true });
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
