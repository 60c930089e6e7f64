/**
 * Layer bytes from the feed to a session: one PATCH of open length, or PATCHes of known length where those are called
 * for.
 */
import { DvcrError } from "../errors/dvcr-error.ts";
import { RegistryError } from "./errors.ts";
import type { Attempt, PushTraits } from "./push-traits.ts";
import type { UploadFeed } from "./upload-feed.ts";
import type { UploadHold } from "./upload-hold.ts";
import type { BlobUploadSession } from "./blob-upload-session.ts";

export interface DeliveryOptions {
  /** Bytes of one PATCH of known length, where the registry takes as much. */
  readonly patchBytes: number;
  /** Chunks of such a PATCH: a caller with a pool of small ones must get some back before it runs dry. */
  readonly patchChunks: number;
  /** What was gathered for such a PATCH is sent when nothing came after it for this long, in milliseconds. */
  readonly flushAfterMs: number;
  /** An open PATCH that has had nothing to send for this long is ended, in milliseconds, before a proxy cuts it. */
  readonly idleAfterMs: number;
}

/**
 * The first PATCH after a cut says where its bytes belong, in case the registry is still busy with what came before it.
 */
const firstAfterCut = 1 << 20;
const none: Attempt = { streamed: false, continued: false, length: 0 };
/** Smaller chunks are copied: they may wait in Node's own queue when the next one is asked for. */
const queuedBytes = 64 << 10;
const starvedMs = 10;

export class UploadDelivery {
  readonly #feed: UploadFeed;
  readonly #hold: UploadHold;
  readonly #traits: PushTraits;
  readonly #options: DeliveryOptions;
  /** Aborted: an open PATCH is ended in order. */
  readonly #stop: AbortSignal;
  /** Aborted: the connection is cut. */
  readonly #cut: AbortSignal;
  #acknowledged = 0;
  /** Highest offset that the session may have come to. */
  #handed = 0;
  #afterCut = false;
  /** The last PATCH, for what its failure says. */
  attempt = none;
  /** PATCHes that the session has taken. */
  patches = 0;
  /** The session's answers do not agree with what it was sent, or it was continued after a cut. */
  isDoubtful = false;

  constructor(
    feed: UploadFeed,
    hold: UploadHold,
    traits: PushTraits,
    options: DeliveryOptions,
    signals: { readonly stop: AbortSignal; readonly cut: AbortSignal },
  ) {
    this.#feed = feed;
    this.#hold = hold;
    this.#traits = traits;
    this.#options = options;
    this.#stop = signals.stop;
    this.#cut = signals.cut;
  }

  /** Bytes that the session holds for certain. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Bytes that the session holds at most. */
  get handed(): number {
    return this.#handed;
  }

  /** Another session: everything is sent again. */
  restart(): void {
    this.#acknowledged = this.#handed = this.patches = 0;
    this.#afterCut = this.isDoubtful = false;
    this.#hold.begin(0);
  }

  /** The session was found to hold `offset` bytes. */
  resume(offset: number): void {
    const partial = offset !== this.#acknowledged;
    this.isDoubtful ||= partial;
    this.#acknowledged = offset;
    this.#afterCut = true;
    this.#hold.survived(offset, partial);
    this.#hold.acknowledged(offset, this.#feed.ended && offset === this.#feed.total);
  }

  /** One PATCH of what comes next, one try. @throws RegistryError, E_SCRATCH_IO. */
  async deliver(session: BlobUploadSession): Promise<void> {
    if (this.#hold.needsAnswers && this.#traits.onePatch) this.#hold.giveUp();
    const inParts = this.#traits.inParts(this.#hold.needsAnswers);
    if (this.#afterCut || inParts) {
      const most = inParts ? this.#partBytes(session) : Math.max(firstAfterCut, session.leastPatch);
      if (!(await this.#sendPart(session, most))) return;
    } else await this.#stream(session);
    this.patches += 1;
    this.#traits.taken(this.attempt.streamed);
    this.attempt = none;
    this.#hold.acknowledged(this.#acknowledged, this.#feed.ended && this.#acknowledged === this.#feed.total);
  }

  async #stream(session: BlobUploadSession): Promise<void> {
    const from = this.#acknowledged;
    const over = new AbortController();
    const glancing = AbortSignal.any([this.#cut, over.signal]);
    const run = { at: from, finished: false, over: over.signal };
    this.attempt = { streamed: true, continued: this.patches > 0, length: 0 };
    this.#hold.begin(from);
    let bodies = 0;
    const body = (): AsyncGenerator<Uint8Array> => {
      bodies += 1;
      // A second one follows a 401 or a redirect.
      if (bodies > 1 && from < this.#feed.window.start && this.#hold.copy === undefined)
        throw new RegistryError("E_REGISTRY_UNAVAILABLE", "the registry asked for a body again that is gone", {
          code: "ECONNRESET",
        });
      return this.#pieces(session, run, from, () => bodies);
    };
    const watching = this.#hold.watch(() => session.glance(glancing), over.signal);
    try {
      const agrees = await session.stream(body, () => run.at, this.#cut);
      if (!run.finished)
        throw new RegistryError("E_REGISTRY_UNAVAILABLE", "the registry answered before it was sent everything", {
          code: "ECONNRESET",
        });
      this.isDoubtful ||= !agrees;
    } finally {
      over.abort();
      this.#feed.wake();
      await watching;
    }
    this.#acknowledged = run.at;
  }

  /** The body of a stream. When the next piece is asked for, the one before is with the system. */
  async *#pieces(
    session: BlobUploadSession,
    run: { at: number; finished: boolean; readonly over: AbortSignal },
    from: number,
    bodies: () => number,
  ): AsyncGenerator<Uint8Array> {
    const mine = bodies();
    let at = from;
    for (;;) {
      run.at = at;
      this.#hold.sent(at);
      const piece = await this.#piece(session, from, at, run.over);
      if (run.over.aborted || bodies() !== mine) return;
      if (piece === undefined) break;
      at += piece.byteLength;
      this.#handed = Math.max(this.#handed, at);
      yield piece.byteLength < queuedBytes ? Buffer.from(piece) : piece;
    }
    run.finished = true;
  }

  /** What comes next at `at`, when it has come; nothing where the PATCH that began at `from` is to end. */
  async #piece(
    session: BlobUploadSession,
    from: number,
    at: number,
    over: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const since = performance.now();
    const { flushAfterMs, idleAfterMs } = this.#options;
    const mayEnd = at - from >= session.leastPatch;
    for (let waited = 0; ; waited = performance.now() - since) {
      if (this.#stop.aborted || over.aborted || this.#feed.failure !== undefined) return undefined;
      if (this.#hold.mustEnd && at > from && mayEnd && !this.#traits.onePatch) return undefined;
      const piece = await this.#feed.next(at, this.#hold.copy);
      if (piece !== undefined) return piece;
      if (this.#feed.ended && at === this.#feed.total) return undefined;
      if (waited >= idleAfterMs && at > from && mayEnd && !this.#traits.onePatch) return undefined;
      this.#hold.starved(waited);
      const next = [starvedMs, flushAfterMs, idleAfterMs].find((ms) => ms > waited);
      await this.#feed.changed(next === undefined ? undefined : next - waited + 1);
    }
  }

  #partBytes(session: BlobUploadSession): number {
    return Math.max(Math.min(this.#options.patchBytes, this.#traits.patchBytes), session.leastPatch);
  }

  /**
   * A PATCH of known length, of up to `most` bytes, that says where they belong. False where there was nothing to send.
   */
  async #sendPart(session: BlobUploadSession, most: number): Promise<boolean> {
    const from = this.#acknowledged;
    if (!this.#afterCut) await this.#gather(session, from, most);
    if (this.#stop.aborted || this.#feed.failure !== undefined) return false;
    await this.#feed.fill(from + most);
    const { window } = this.#feed;
    const whole = this.#afterCut || session.leastPatch > 0 ? window.end : window.endOf(from, this.#options.patchChunks);
    const end = Math.min(from + most, Math.max(whole, from < window.start ? window.start : 0));
    if (end <= from) return false;
    this.attempt = { streamed: false, continued: this.patches > 0, length: end - from };
    this.#hold.begin(from);
    this.#handed = Math.max(this.#handed, end);
    const agrees = await session.chunk(from, end - from, () => this.#between(from, end), this.#cut);
    this.isDoubtful ||= !agrees;
    this.#acknowledged = end;
    this.#afterCut = false;
    return true;
  }

  /** Waits until there is enough for a PATCH, or nothing has come for a while. */
  async #gather(session: BlobUploadSession, from: number, most: number): Promise<void> {
    const { patchChunks, flushAfterMs } = this.#options;
    const least = session.leastPatch;
    let last = this.#feed.total;
    for (let since = performance.now(); !this.#stop.aborted && this.#feed.failure === undefined;) {
      const { total, window, ended } = this.#feed;
      const gathered = total - from;
      if (total !== last) since = performance.now();
      last = total;
      const quiet = performance.now() - since >= flushAfterMs;
      if (ended || gathered >= most || from < window.start) return;
      if (gathered >= least && (quiet || window.count >= patchChunks)) return;
      // Too little for a PATCH here: copied, so that the caller has its chunks back and can send more.
      if (window.count >= patchChunks || quiet) window.own();
      await this.#feed.changed(flushAfterMs);
    }
  }

  async *#between(from: number, end: number): AsyncGenerator<Uint8Array> {
    for (let at = from; at < end;) {
      const piece = await this.#feed.next(at, this.#hold.copy);
      if (piece === undefined) throw new DvcrError("E_INTERNAL", `byte ${String(at)} of the layer is not at hand`);
      const part = at + piece.byteLength > end ? piece.subarray(0, end - at) : piece;
      at += part.byteLength;
      yield part;
    }
  }
}
