import { cancellation, throwIfCancelled } from "../../../retry/cancel.ts";
import { GroupUse, type PlaceUse } from "./group-use.ts";
import { Place, type Member } from "./place.ts";

export interface PlaceLimits {
  /** Members that compute at once. */
  readonly places: number;
  /**
   * Members that have begun, of one namespace and in all: those that wait for bytes or for their turn take memory too.
   */
  readonly begunByNamespace: number;
  readonly begun: number;
  /**
   * Milliseconds that a member may wait for bytes before it is ended where another cannot begin for it. Default 60 s.
   */
  readonly idleMs?: number;
  /**
   * Milliseconds that a place is kept; then it goes to whoever has the best claim, perhaps the same member. Default 5
   * s.
   */
  readonly sliceMs?: number;
}

/** Beyond those that compute, so many may have begun: each takes some 20 MiB while it waits. */
const besidesOfOne = 4;
const besidesOfAll = 12;

/** The limits that go with a number of places. */
export const limitsFor = (places: number): PlaceLimits => ({
  places,
  begunByNamespace: places + besidesOfOne,
  begun: places + besidesOfAll,
});

/** How often it is looked who waits for bytes, in milliseconds. */
const tickMs = 250;
const defaultIdleMs = 60_000;
const defaultSliceMs = 5000;

/**
 * Places for work that takes a core. They go round: a member has one while it computes, not while it waits for bytes,
 * and gives way after a slice of time where others wait. The next one is of the namespace that holds the fewest places,
 * then of the one that has used the least place and CPU seconds of late; within a namespace, who came first.
 */
export class Places {
  readonly #limits: PlaceLimits;
  readonly #members = new Set<Place>();
  readonly #uses = new GroupUse();
  #ticker: NodeJS.Timeout | undefined;

  constructor(limits: PlaceLimits) {
    this.#limits = limits;
  }

  /** What each namespace holds, waits for and has used. */
  use(): PlaceUse[] {
    return this.#uses.all([...this.#members]);
  }

  /**
   * Runs `work` when its turn comes, with the place that it has then. `onWait` is called when that is not immediately.
   * Throws a DvcrError once the signal is aborted while it waits.
   */
  async run<T>(member: Member, work: (place: Place) => Promise<T>, onWait?: () => void): Promise<T> {
    throwIfCancelled(member.signal);
    const place = new Place(member, this.#limits.sliceMs ?? defaultSliceMs, () => this.#dispatch());
    this.#members.add(place);
    this.#ticker ??= setInterval(() => this.#tick(), tickMs).unref();
    const leave = (): void => place.refuse(cancellation(member.signal));
    member.signal.addEventListener("abort", leave, { once: true });
    try {
      const turn = place.take();
      if (!place.isHeld) onWait?.();
      await turn;
      return await work(place);
    } finally {
      member.signal.removeEventListener("abort", leave);
      this.#charge(place);
      this.#members.delete(place);
      if (this.#members.size === 0) {
        clearInterval(this.#ticker);
        this.#ticker = undefined;
      }
      this.#dispatch();
    }
  }

  /** Takes back the places of those to whom no bytes come. */
  #tick(): void {
    for (const place of this.#members) place.giveBackWhereIdle();
    this.#dispatch();
    this.#makeRoom();
  }

  /** Gives free places to those with the best claims. */
  #dispatch(): void {
    for (const place of this.#members) this.#charge(place);
    while (this.#held().length < this.#limits.places) {
      const next = this.#best();
      if (next === undefined) break;
      next.grant();
    }
  }

  #held(): Place[] {
    return [...this.#members].filter((place) => place.isHeld);
  }

  #best(): Place | undefined {
    const held = new Map<string, number>();
    for (const place of this.#held()) held.set(place.namespace, (held.get(place.namespace) ?? 0) + 1);
    const claim = ({ namespace }: Place): readonly number[] => [held.get(namespace) ?? 0, this.#uses.recent(namespace)];
    let best: Place | undefined;
    for (const place of this.#members) {
      if (!place.isWaiting || this.#lacksRoom(place) !== undefined) continue;
      if (best === undefined || isLess(claim(place), claim(best))) best = place;
    }
    return best;
  }

  /** Which members stand in the way of one that has not begun; nothing where it may. */
  #lacksRoom(place: Place): Place[] | undefined {
    if (place.hasBegun) return undefined;
    const begun = [...this.#members].filter(({ hasBegun }) => hasBegun);
    const own = begun.filter(({ namespace }) => namespace === place.namespace);
    if (own.length >= this.#limits.begunByNamespace) return own;
    return begun.length >= this.#limits.begun ? begun : undefined;
  }

  /** Ends members that have waited for bytes for long, one for each that cannot begin for them. */
  #makeRoom(): void {
    for (const place of this.#members) {
      if (!place.isWaiting) continue;
      const inTheWay = this.#lacksRoom(place);
      const idle = inTheWay
        ?.filter((one) => one.idleFor() >= (this.#limits.idleMs ?? defaultIdleMs) && !one.isEnding)
        .sort((one, other) => other.idleFor() - one.idleFor());
      idle?.[0]?.end();
    }
  }

  #charge(place: Place): void {
    this.#uses.charge(place.namespace, place.takeCharge());
  }
}

function isLess(one: readonly number[], other: readonly number[]): boolean {
  const index = one.findIndex((value, at) => value !== other[at]);
  return index >= 0 && one[index]! < other[index]!;
}
