/**
 * When bytes that were sent may be released: nothing that cannot be had again is let go before it is safe.
 *
 *   source      the caller can write all of it again: what lies well behind the last byte sent is released
 *   undecided   it cannot, and it is not known yet what the registry tells: nothing is released
 *   session     the registry tells, while a PATCH is open, what it holds: that much is released
 *   copy        it does not: what was sent is released once it is in the kept copy
 *   answer      there is no room for a copy: what a PATCH has brought is released when it is answered
 */
import type { LayerInsurance } from "../layer/layer-upload.ts";
import type { UploadFeed } from "./upload-feed.ts";
import type { SessionPosition } from "./blob-upload-session.ts";

type Mode = "source" | "undecided" | "session" | "copy" | "answer";

export interface HoldOptions {
  /** Chunks that are held behind the last byte sent, so that a short cut costs nothing. */
  readonly heldChunks: number;
  /** A writer's last chunks are released when nothing came after them for this long, in milliseconds. */
  readonly flushAfterMs: number;
}

const heldBytes = 12 << 20;
/** So many bytes unconfirmed, or half of so many chunks, are a reason to ask. */
const askAfterBytes = 4 << 20;
const askAfterChunks = 4;
/** Pauses of the asking, in milliseconds. */
const shortestPause = 20;
const longestPause = 320;
/** So often a registry may answer that it holds nothing before it counts as one that does not tell. */
const emptyAnswers = 6;
/**
 * A PATCH whose bytes stay unconfirmed for this long, with nothing left to send, is ended: its answer confirms them.
 */
const patienceMs = 1000;
/** A caller's pool is dry after this long, in milliseconds. */
const starvedMs = 10;

export class UploadHold {
  readonly #feed: UploadFeed;
  readonly #insurance: LayerInsurance | undefined;
  readonly #flushAfterMs: number;
  #mode: Mode;
  #heldChunks: number;
  /** Offsets: handed to the system (and when), told by the registry, in the copy. */
  #sent = 0;
  #sentAt = 0;
  #confirmed = 0;
  #kept = 0;
  #keeping: Promise<void> | undefined;
  #mustEnd = false;
  #copyEnded = false;

  constructor(feed: UploadFeed, insurance: LayerInsurance | undefined, options: HoldOptions) {
    this.#feed = feed;
    this.#insurance = insurance;
    this.#mode = insurance === undefined ? "source" : "undecided";
    this.#heldChunks = options.heldChunks;
    this.#flushAfterMs = options.flushAfterMs;
  }

  /** Only an answer to a PATCH makes anything safe. */
  get needsAnswers(): boolean {
    return this.#mode === "answer";
  }

  /** The open PATCH is to be ended: what it has brought can be confirmed in no other way. */
  get mustEnd(): boolean {
    return this.#mustEnd;
  }

  /** The copy of what was released, where it is complete. */
  get copy(): LayerInsurance | undefined {
    return this.#insurance !== undefined && this.#insurance.size >= this.#feed.window.start
      ? this.#insurance
      : undefined;
  }

  /** Everything from the first byte on can be sent again. */
  get hasAll(): boolean {
    return this.#feed.window.start === 0 || this.copy !== undefined;
  }

  /** The caller can write everything again. */
  get canBeMadeAgain(): boolean {
    return this.#insurance === undefined;
  }

  /** Another session, or another PATCH: it is `offset` bytes from where everything is yet to be sent. */
  begin(offset: number): void {
    this.#sent = offset;
    this.#mustEnd = false;
    if (offset > 0) return;
    this.#confirmed = 0;
    if (this.#mode === "session") this.#mode = "undecided";
  }

  /** What lies before `offset` is with the system. */
  sent(offset: number): void {
    this.#sent = Math.max(this.#sent, offset);
    this.#sentAt = performance.now();
    if (this.#mode === "copy") this.#keep();
    this.#release();
  }

  /** There has been nothing to send for so long. */
  starved(ms: number): void {
    if (this.#mode !== "source") return;
    const held = this.#feed.window.count;
    // The pool is smaller than was thought.
    if (ms >= starvedMs && held >= this.#heldChunks) this.#heldChunks = Math.max(1, held >> 1);
    if (ms >= this.#flushAfterMs) this.#feed.release(this.#sent);
    else this.#release();
  }

  /** The registry has answered a PATCH that ended at `offset`; with `last` nothing follows. */
  acknowledged(offset: number, last: boolean): void {
    const { window } = this.#feed;
    this.#sent = offset;
    this.#mustEnd = false;
    // The copy and the window together are everything, until another PATCH has shown that the registry takes one.
    const wait = this.#copyEnded && window.end > offset;
    if (this.#mode === "answer" && !wait) void this.#insurance?.close().catch(() => undefined);
    this.#copyEnded = false;
    if (!wait) this.#confirmed = offset;
    // A session that is lost later has to be filled again.
    if (this.#mode === "undecided" && !last) this.#mode = "copy";
    if (this.#mode === "copy") this.#keep();
    else if (this.#mode === "source" || last) this.#feed.release(offset);
    this.#release();
  }

  /**
   * The session told `offset` after a fault; `partial` where that is not what it had acknowledged, so that it outlives
   * cuts.
   */
  survived(offset: number, partial: boolean): void {
    if (!partial || this.#mode !== "undecided") return;
    this.#confirmed = offset;
    this.#mode = "session";
  }

  /** Nothing makes what is sent safe: it is released as where the caller could write it again. */
  giveUp(): void {
    this.#mode = "source";
  }

  /** Resolves when no chunk is being copied. */
  async settled(): Promise<void> {
    await this.#keeping;
  }

  /** Asks, while a PATCH is open, how far it came, as often as that frees something. Ends with `signal`. */
  async watch(glance: () => Promise<SessionPosition>, signal: AbortSignal): Promise<void> {
    let pause = shortestPause;
    let empty = 0;
    let asked = 0;
    /** Since when nothing more is confirmed. */
    let since = performance.now();
    const isOver = (): boolean => signal.aborted;
    while (!isOver()) {
      const now = performance.now();
      const asks = this.#mode === "undecided" || this.#mode === "session";
      if (!asks || this.#sent === this.#confirmed) {
        since = now;
        await this.#feed.changed(longestPause);
        continue;
      }
      const due = Math.max(asked + pause, this.#isMuchUnconfirmed() ? 0 : this.#sentAt + shortestPause);
      if (now < due) {
        await this.#feed.changed(due - now);
        continue;
      }
      const before = this.#confirmed;
      const position = await glance().catch(() => "unsure" as const);
      if (isOver()) return;
      asked = performance.now();
      if (this.#mode === "undecided") empty += position === "unsure" || position === before ? 1 : 0;
      this.#told(position, empty);
      if (this.#confirmed > before) since = asked;
      pause = this.#confirmed > before ? shortestPause : Math.min(longestPause, pause * 2);
      const waits = asked - since >= patienceMs && this.#sent >= this.#feed.window.end;
      if (this.#mode === "session" && waits) this.end();
    }
  }

  /** Asks for the end of the open PATCH. */
  end(): void {
    this.#mustEnd = true;
    this.#feed.wake();
  }

  #told(position: SessionPosition, empty: number): void {
    const believable = typeof position === "number" && position >= this.#confirmed && position <= this.#feed.claimed;
    if (believable) {
      this.#confirmed = position;
      this.#mode = "session";
      this.#release();
    } else if (this.#mode === "undecided" && (position !== "unsure" || empty >= emptyAnswers)) {
      this.#mode = "copy";
      this.#keep();
    }
  }

  #isMuchUnconfirmed(): boolean {
    const { window } = this.#feed;
    const unconfirmed = this.#sent - this.#confirmed;
    const half = (window.end - window.start) / 2;
    return unconfirmed >= askAfterBytes || (window.count >= askAfterChunks && unconfirmed >= half);
  }

  #release(): void {
    const { window } = this.#feed;
    if (this.#mode === "source") this.#feed.release(window.newest(this.#sent, this.#heldChunks, heldBytes));
    else if (this.#mode === "copy") this.#feed.release(Math.min(this.#sent, this.#kept));
    else if (this.#mode !== "undecided") this.#feed.release(this.#confirmed);
  }

  /** Copies what was handed out. Chunks that were not may still move to the backlog. */
  #keep(): void {
    this.#keeping ??= this.#keepAll().finally(() => {
      this.#keeping = undefined;
      this.#release();
    });
  }

  async #keepAll(): Promise<void> {
    const { window } = this.#feed;
    while (this.#mode === "copy" && this.#feed.failure === undefined) {
      const chunks = window.chunksBetween(this.#kept, this.#feed.claimed);
      if (chunks.length === 0) return;
      if (!(await this.#insurance!.append(chunks))) {
        this.#mode = "answer";
        this.#copyEnded = true;
        this.end();
        return;
      }
      this.#kept += chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
      this.#release();
    }
  }
}
