/**
 * What is to be sent, in order, wherever it waits:
 *
 *   kept copy (released) | window (in memory) | backlog (scratch: the registry takes nothing) | late writes
 *
 * A writer goes on as soon as its chunk is released from the window or has moved to the backlog.
 */
import { DvcrError } from "../errors/dvcr-error.ts";
import type { LayerBacklog, LayerInsurance } from "../layer/layer-upload.ts";
import { resolveRemoved, UploadWindow } from "./upload-window.ts";

interface Late {
  readonly chunk: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: DvcrError) => void;
}

/** Bytes that are read from scratch at a time. */
const pieceBytes = 1 << 20;
/** Bytes in memory at which no more are read from the backlog. */
const mostInHand = 24 << 20;

export class UploadFeed {
  readonly window = new UploadWindow();
  readonly #backlog: LayerBacklog | undefined;
  readonly #backlogAfterMs: number;
  /** Written while older bytes wait in the backlog. */
  #late: Late[] = [];
  #lateBytes = 0;
  /** The bytes on their way into the backlog. */
  #movingBytes = 0;
  /** Reads and writes of the backlog, one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #storing = false;
  /** Nothing was released for long: what is written goes to the backlog. */
  #away = false;
  #patience: NodeJS.Timeout | undefined;
  /** What lies before may be on the connection, and stays in the window. */
  #claimed = 0;
  #ended = false;
  #failure: DvcrError | undefined;
  readonly #listeners = new Set<() => void>();

  constructor(backlog: LayerBacklog | undefined, backlogAfterMs: number) {
    this.#backlog = backlog;
    this.#backlogAfterMs = backlogAfterMs;
  }

  /** Bytes written so far. */
  get total(): number {
    return this.window.end + this.#movingBytes + this.#waiting + this.#lateBytes;
  }

  /** Nothing more will be written. */
  get ended(): boolean {
    return this.#ended;
  }

  get failure(): DvcrError | undefined {
    return this.#failure;
  }

  /** As LayerUpload.write(). */
  write(chunk: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (chunk.byteLength === 0) return Promise.resolve();
    const late = this.#late.length > 0 || this.#waiting > 0 || this.#movingBytes > 0;
    const written = late ? this.#writeLate(chunk) : this.window.add(chunk);
    if (this.#away) this.#store();
    else this.#watch();
    this.wake();
    return written;
  }

  /** Nothing follows. */
  end(): void {
    this.#ended = true;
    this.wake();
  }

  /** Releases the chunks that end at or before `offset`. */
  release(offset: number): void {
    if (!this.window.release(offset)) return;
    this.#away = false;
    clearTimeout(this.#patience);
    this.#patience = undefined;
    this.#watch();
    this.wake();
  }

  /**
   * The bytes from `offset` to the end of their chunk; nothing where the writers have to bring them first, or where so
   * much is in hand that some has to be released first. `kept` holds what was released. @throws DvcrError E_SCRATCH_IO.
   */
  async next(offset: number, kept: LayerInsurance | undefined): Promise<Uint8Array | undefined> {
    if (offset < this.window.start) return await this.#fromKept(offset, kept);
    if (offset >= this.window.end) await this.#refill(offset);
    const bytes = this.window.view(offset);
    this.#claimed = Math.max(this.#claimed, offset + (bytes?.byteLength ?? 0));
    return bytes;
  }

  /**
   * Brings what waits elsewhere into memory up to `offset`, as far as there is something. @throws DvcrError
   * E_SCRATCH_IO.
   */
  async fill(offset: number): Promise<void> {
    for (let end = -1; this.window.end < offset && this.window.end !== end;) {
      end = this.window.end;
      await this.#refill(end);
    }
  }

  /** Resolves with the next change: a write, a release, the end, a failure, wake(); or after `ms`. */
  changed(ms?: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#listeners.delete(done);
        resolve();
      };
      const timer = ms === undefined ? undefined : setTimeout(done, ms);
      this.#listeners.add(done);
    });
  }

  wake(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** Everyone who waits, or writes from now on, has `error`; the first counts and is returned. */
  fail(error: DvcrError): DvcrError {
    this.#failure ??= error;
    clearTimeout(this.#patience);
    this.window.reject(this.#failure);
    for (const { reject } of this.#late.splice(0)) reject(this.#failure);
    this.#lateBytes = 0;
    this.wake();
    return this.#failure;
  }

  /** Bytes that were handed out, and so may be on the connection. */
  get claimed(): number {
    return this.#claimed;
  }

  /** Resolves when nothing moves between memory and the backlog. */
  async settled(): Promise<void> {
    clearTimeout(this.#patience);
    await this.#turn;
  }

  get #waiting(): number {
    return this.#backlog?.size ?? 0;
  }

  async #fromKept(offset: number, kept: LayerInsurance | undefined): Promise<Uint8Array> {
    const length = Math.min(pieceBytes, this.window.start - offset);
    if (kept === undefined || kept.size < offset + length)
      throw new DvcrError("E_INTERNAL", `byte ${String(offset)} of the layer is not at hand any more`);
    const pieces: Uint8Array[] = [];
    for await (const piece of kept.read(offset, length)) pieces.push(piece);
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  }

  #writeLate(chunk: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#late.push({ chunk, resolve, reject });
      this.#lateBytes += chunk.byteLength;
    });
  }

  /** Nothing is in memory from `offset` on: what has waited longest comes next. */
  async #refill(offset: number): Promise<void> {
    if (this.#waiting === 0 && this.#late.length === 0 && this.#movingBytes === 0) return;
    await this.#inTurn(async () => {
      if (this.window.end > offset) return;
      if (this.#waiting > 0) {
        if (this.window.end - this.window.start >= mostInHand) return;
        for (const piece of await this.#backlog!.take(pieceBytes)) this.window.addOwn(piece);
      } else {
        this.#lateBytes = 0;
        for (const { chunk, resolve, reject } of this.#late.splice(0)) this.window.add(chunk).then(resolve, reject);
      }
    });
  }

  #watch(): void {
    if (this.#backlog === undefined || this.#patience !== undefined || this.#failure !== undefined) return;
    if (this.window.count === 0 && this.#late.length === 0) return;
    this.#patience = setTimeout(() => {
      this.#patience = undefined;
      this.#away = true;
      this.#store();
    }, this.#backlogAfterMs);
  }

  /** Moves to the backlog what has not been sent, until nothing is left or there is no room. */
  #store(): void {
    if (this.#storing) return;
    this.#storing = true;
    void this.#inTurn(async () => {
      while (this.#away && this.#failure === undefined && (await this.#storeOnce()));
      this.#storing = false;
      this.wake();
    });
  }

  async #storeOnce(): Promise<boolean> {
    // What is in the window is older than what is in the backlog.
    const removed = this.#waiting === 0 ? this.window.remove(this.#claimed) : { parts: [], chunks: [] };
    const late = removed.parts.length > 0 ? [] : this.#late.splice(0);
    const chunks = removed.parts.length > 0 ? removed.chunks : late.map(({ chunk }) => chunk);
    if (chunks.length === 0) return false;
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    this.#movingBytes = bytes;
    if (late.length > 0) this.#lateBytes -= bytes;
    const fits = await this.#backlog!.append(chunks);
    this.#movingBytes = 0;
    if (fits) {
      resolveRemoved(removed);
      for (const { resolve } of late) resolve();
      return true;
    }
    this.#away = false;
    this.window.restore(removed);
    this.#late.unshift(...late);
    if (late.length > 0) this.#lateBytes += bytes;
    if (this.#failure !== undefined) this.fail(this.#failure);
    else this.#watch();
    return false;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}
