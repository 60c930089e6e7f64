/**
 * A blob of unknown length on its way into a registry.
 *
 *   write() --> feed (upload-feed) --> delivery (upload-delivery): one open PATCH, or parts --> commit(): PUT, HEAD
 *                  ^ released by hold (upload-hold)        | fault
 *                  '------------------------- recovery (upload-recovery): go on, another session, or lost
 */
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import type { LayerBacklog, LayerInsurance, LayerUpload } from "../layer/layer-upload.ts";
import { REQUEST_BYTES, REQUEST_CHUNKS } from "../layer/layer-buffers.ts";
import { cancellation, throwIfCancelled } from "../retry/cancel.ts";
import { FailureError } from "../retry/failure.ts";
import { Backoff, decide } from "../retry/retry.ts";
import { confirmBlob, statBlob } from "./blobs.ts";
import type { RegistryClient } from "./client.ts";
import { RegistryError } from "./errors.ts";
import type { Lesson } from "./push-traits.ts";
import { UploadDelivery, type DeliveryOptions } from "./upload-delivery.ts";
import { UploadFeed } from "./upload-feed.ts";
import { UploadHold } from "./upload-hold.ts";
import { UploadRecovery, type RecoveryEvents } from "./upload-recovery.ts";
import { BlobUploadSession } from "./blob-upload-session.ts";

export interface BlobUploadOptions extends Partial<DeliveryOptions>, Partial<RecoveryEvents> {
  /** Chunks that are held behind the last byte sent, where the caller could write them again. Default 12. */
  readonly heldChunks?: number;
  /** How long abort() may take. Default 10 s. */
  readonly abortGraceMs?: number;
  /**
   * Where sent bytes are kept, if the registry may lose them. Missing: the caller can write the blob again from its
   * first byte, and does so when an error has `sessionLost`.
   */
  readonly insurance?: LayerInsurance;
  /** Where bytes wait while the registry takes none. Missing: their writers wait. */
  readonly backlog?: LayerBacklog;
  /** How long writers wait before the backlog is used. Default 20 s. */
  readonly backlogAfterMs?: number;
  /** Told in one line what a person reading the log should know. */
  readonly onNotice?: (text: string) => void;
}

const defaults = {
  patchBytes: REQUEST_BYTES,
  patchChunks: REQUEST_CHUNKS,
  flushAfterMs: 200,
  idleAfterMs: 15_000,
  heldChunks: 12,
  abortGraceMs: 10_000,
  backlogAfterMs: 20_000,
  onOrphan: () => {},
  onRestart: () => {},
  onNotice: () => {},
};

type Recover = (error: FailureError, lesson: Lesson | undefined) => Promise<void>;

export class BlobUpload implements LayerUpload {
  readonly #client: RegistryClient;
  readonly #repository: string;
  readonly #options: Required<Omit<BlobUploadOptions, "insurance" | "backlog">>;
  /** Ends waiting: the caller's signal, or abort(). */
  readonly #stopped = new AbortController();
  readonly #signal: AbortSignal;
  /** Cuts the connection. Later than the above: a PATCH that was cut can leave a session that nothing removes. */
  readonly #cut = new AbortController();
  readonly #feed: UploadFeed;
  readonly #hold: UploadHold;
  readonly #delivery: UploadDelivery;
  readonly #recovery: UploadRecovery;
  /** Resolves when everything was delivered or the upload has failed. */
  readonly #delivering: Promise<void>;
  #putting: Promise<void> | undefined;
  #ended = false;

  private constructor(
    client: RegistryClient,
    repository: string,
    session: BlobUploadSession,
    signal: AbortSignal,
    options: BlobUploadOptions,
  ) {
    this.#client = client;
    this.#repository = repository;
    const { insurance, backlog, ...others } = options;
    this.#options = { ...defaults, ...others };
    this.#signal = AbortSignal.any([signal, this.#stopped.signal]);
    const signals = { stop: this.#signal, cut: this.#cut.signal };
    this.#feed = new UploadFeed(backlog, this.#options.backlogAfterMs);
    this.#hold = new UploadHold(this.#feed, insurance, this.#options);
    this.#delivery = new UploadDelivery(this.#feed, this.#hold, client.traits, this.#options, signals);
    const parts = { feed: this.#feed, hold: this.#hold, delivery: this.#delivery };
    this.#recovery = new UploadRecovery(client, repository, session, parts, this.#options, this.#signal);
    // Writers learn of a cancellation immediately, not when a PATCH that may still end well has ended.
    const fail = () => void this.#feed.fail(cancellation(this.#signal));
    this.#signal.addEventListener("abort", fail, { once: true });
    if (this.#signal.aborted) fail();
    this.#delivering = this.#deliverAll().catch((error: unknown) => {
      this.#feed.fail(toDvcrError(error));
    });
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
    const opening = client.retrying(() => BlobUploadSession.startOnce(client, repository, cut.signal), signal);
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
    return this.#delivery.acknowledged;
  }

  /** How often a new session was filled from the insurance. */
  get restarts(): number {
    return this.#recovery.restarts;
  }

  write(chunk: Uint8Array): Promise<void> {
    return this.#feed.write(chunk);
  }

  end(): void {
    this.#feed.end();
  }

  /** @throws RegistryError; E_REGISTRY_INCOMPLETE where the registry holds another size than it was sent. */
  async commit(digest: string, size: number): Promise<void> {
    this.end();
    await this.#delivering;
    if (this.#feed.failure !== undefined) throw this.#feed.failure;
    if (this.#delivery.acknowledged !== size) {
      throw new DvcrError(
        "E_INTERNAL",
        `the registry was sent ${String(this.#delivery.acknowledged)} bytes of the layer, not ${String(size)}`,
      );
    }
    this.#putting = this.#put(digest, size);
    await this.#orStopped(this.#putting);
    this.#ended = true;
    await this.#confirm(digest, size);
  }

  /** Lets the request in flight end for half of the grace time, then removes the session in the rest. */
  async abort(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#stopped.abort(new DvcrError("E_CANCELLED", "the upload was dropped"));
    const limit = AbortSignal.timeout(this.#options.abortGraceMs);
    const cutting = setTimeout(() => this.#cut.abort(), this.#options.abortGraceMs / 2);
    await this.#delivering;
    await this.#putting?.catch(() => undefined);
    await Promise.all([this.#feed.settled(), this.#hold.settled()]);
    clearTimeout(cutting);
    await this.#recovery.remove(this.#recovery.session, limit);
  }

  async #deliverAll(): Promise<void> {
    for (;;) {
      while (this.#delivery.acknowledged === this.#feed.total) {
        if (this.#feed.ended) {
          await this.#settle();
          return;
        }
        if (this.#feed.failure !== undefined) return;
        await this.#feed.changed();
      }
      if (this.#feed.failure !== undefined) return;
      await this.#persist(() => this.#delivery.deliver(this.#recovery.session), this.#recover);
    }
  }

  /** Nothing of the callers' is used any more. */
  async #settle(): Promise<void> {
    await this.#feed.settled();
    await this.#hold.settled();
  }

  async #put(digest: string, size: number): Promise<void> {
    let done = false;
    const attempt = async (): Promise<void> => {
      while (!done && this.#delivery.acknowledged < size) await this.#delivery.deliver(this.#recovery.session);
      if (!done) await this.#recovery.session.put(digest, size, this.#cut.signal);
    };
    await this.#persist(attempt, async (error, lesson) => {
      // A PUT whose answer was lost may have done its work, and has then ended the session.
      done = (await statBlob(this.#client, this.#repository, digest, this.#signal)) === size;
      if (!done) await this.#recovery.synchronise(error, lesson);
    });
  }

  /** Runs `attempt`; after a fault that the table lets pass, waits, runs `recover`, and then `attempt` again. */
  async #persist(attempt: () => Promise<void>, recover: Recover): Promise<void> {
    const backoff = new Backoff(this.#client.retry, this.#client.clock);
    let reached = this.#delivery.acknowledged;
    let failed: { readonly error: FailureError; readonly lesson: Lesson | undefined } | undefined;
    for (;;) {
      throwIfCancelled(this.#signal);
      try {
        if (failed !== undefined) await recover(failed.error, failed.lesson);
        failed = undefined;
        await attempt();
        return;
      } catch (error) {
        if (this.#signal.aborted) throw cancellation(this.#signal);
        if (!(error instanceof FailureError) || (error instanceof RegistryError && error.sessionLost)) throw error;
        const isNew = failed === undefined;
        failed ??= { error, lesson: this.#recovery.learn(error.failure) };
        if (isNew && failed.lesson !== undefined) continue;
        if (decide(error.failure, "transfer", "registry") === "give-up") throw error;
        if (this.#delivery.acknowledged > reached) backoff.reset();
        reached = this.#delivery.acknowledged;
        const waited = await backoff.wait(this.#signal, {
          retryAfterMs: error.failure.retryAfterMs,
          onWait: (delayMs) => this.#client.onRetry?.({ error, delayMs }),
        });
        if (!waited) throw error;
      }
    }
  }

  readonly #recover: Recover = (error, lesson) => this.#recovery.synchronise(error, lesson);

  async #confirm(digest: string, size: number): Promise<void> {
    try {
      const notice = await confirmBlob(this.#client, this.#repository, { digest, size }, this.#signal);
      if (notice !== undefined) this.#options.onNotice(notice);
    } catch (error) {
      const { traits } = this.#client;
      if (!(error instanceof RegistryError) || this.#delivery.patches < 2 || traits.onePatch) throw error;
      // Registries that keep one PATCH of several keep all of a single one.
      traits.onePatch = true;
      throw new RegistryError(error.code, error.message, error.failure, { cause: error, sessionLost: true });
    }
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
