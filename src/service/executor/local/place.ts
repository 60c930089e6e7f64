import { DvcrError } from "../../../errors/dvcr-error.ts";
import { cancellation } from "../../../retry/cancel.ts";

/** Who asks for a place. */
export interface Member {
  /** Whose it is; empty for cluster-wide images. */
  readonly namespace: string;
  readonly signal: AbortSignal;
  /** CPU seconds that it has used so far; never falling. */
  readonly cpuSeconds: () => number;
  /** Ends it, because it waits for bytes and others cannot begin for it. */
  readonly end: (reason: DvcrError) => void;
}

/** Seconds of a place, and of all threads of its member. */
export interface Charge {
  readonly placeSeconds: number;
  readonly cpuSeconds: number;
}

/** Milliseconds without bytes after which a place is given back. */
const graceMs = 250;

interface Turn {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: DvcrError) => void;
}

/** One member's place: held, waited for, or given back while no bytes come. */
export class Place {
  readonly #member: Member;
  readonly #sliceMs: number;
  readonly #changed: () => void;
  #turn: Turn | undefined;
  #isHeld = false;
  #hasBegun = false;
  #isEnding = false;
  #heldSince = 0;
  /** Seconds of the place that are not charged yet, until `#countedUntil`. */
  #owed = 0;
  #countedUntil = 0;
  #chargedCpu = 0;
  /** When it last took bytes in or put bytes out. */
  #movedAt = performance.now();
  /** Calls of awaiting() that have not ended. */
  #awaited = 0;
  #waitingSince: number | undefined;

  /** Milliseconds that it is kept while others wait; `changed`: others may have their turn now. */
  constructor(member: Member, sliceMs: number, changed: () => void) {
    this.#member = member;
    this.#sliceMs = sliceMs;
    this.#changed = changed;
    this.#chargedCpu = member.cpuSeconds();
  }

  get namespace(): string {
    return this.#member.namespace;
  }

  get isHeld(): boolean {
    return this.#isHeld;
  }

  get isWaiting(): boolean {
    return this.#turn !== undefined;
  }

  /** It has had its first turn. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  get isEnding(): boolean {
    return this.#isEnding;
  }

  /** Milliseconds that it has waited for its turn; 0 where it does not. */
  waitedFor(): number {
    return this.#waitingSince === undefined ? 0 : performance.now() - this.#waitingSince;
  }

  /** Milliseconds since bytes moved; 0 for one that computes or waits for its turn. */
  idleFor(): number {
    return this.#isHeld || this.isWaiting ? 0 : performance.now() - this.#movedAt;
  }

  /**
   * Resolves when the member may compute: immediately where it holds its place and its slice is not over. Rejects once
   * its signal is aborted.
   */
  take(): Promise<void> {
    const { signal } = this.#member;
    if (signal.aborted) return Promise.reject(cancellation(signal));
    this.#movedAt = performance.now();
    if (this.#isHeld && this.#movedAt - this.#heldSince < this.#sliceMs) return Promise.resolve();
    if (this.#turn !== undefined) return this.#turn.promise;
    this.#release();
    this.#waitingSince = this.#movedAt;
    let settle!: Pick<Turn, "resolve" | "reject">;
    const promise = new Promise<void>((resolve, reject) => {
      settle = { resolve, reject };
    });
    this.#turn = { promise, ...settle };
    this.#changed();
    return promise;
  }

  /** Awaits bytes from elsewhere; the place is given back where they do not come soon, and to be taken again after. */
  async awaiting<T>(bytes: Promise<T>): Promise<T> {
    this.#awaited += 1;
    try {
      return await bytes;
    } finally {
      this.#awaited -= 1;
    }
  }

  giveBackWhereIdle(): void {
    if (this.#isHeld && this.#awaited > 0 && performance.now() - this.#movedAt >= graceMs) this.#release();
  }

  /** It is its turn. */
  grant(): void {
    const turn = this.#turn;
    this.#turn = undefined;
    this.#waitingSince = undefined;
    this.#isHeld = true;
    this.#hasBegun = true;
    this.#heldSince = this.#countedUntil = this.#movedAt = performance.now();
    turn?.resolve();
  }

  /** It has no turn any more. */
  refuse(reason: DvcrError): void {
    const turn = this.#turn;
    this.#turn = undefined;
    turn?.reject(reason);
  }

  /** Has the member ended: others need its memory, and it waits for bytes. */
  end(): void {
    this.#isEnding = true;
    this.#member.end(
      new DvcrError("E_GAVE_WAY", `no bytes had come for ${String(Math.round(this.idleFor() / 1000))} seconds`),
    );
  }

  /** What it has used since it was last asked. */
  takeCharge(): Charge {
    this.#count();
    const placeSeconds = this.#owed;
    this.#owed = 0;
    const cpu = this.#member.cpuSeconds();
    const cpuSeconds = Math.max(0, cpu - this.#chargedCpu);
    this.#chargedCpu = cpu;
    return { placeSeconds, cpuSeconds };
  }

  #release(): void {
    this.#count();
    this.#isHeld = false;
  }

  #count(): void {
    const now = performance.now();
    if (this.#isHeld) this.#owed += (now - this.#countedUntil) / 1000;
    this.#countedUntil = now;
  }
}
