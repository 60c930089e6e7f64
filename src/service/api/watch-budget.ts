/** Bytes that watches hold for clients that do not read, in all and per user. */

/** A watch, as the budget sees it. */
export interface Holder {
  /** Whose share it counts against. */
  readonly owner: string;
  /** Bytes that wait for its client. */
  readonly held: number;
  /** Lets go of them and ends. */
  expire(): void;
}

export interface BudgetLimits {
  /** Bytes that one watch, all of one user, and all together may hold. */
  readonly each: number;
  readonly user: number;
  readonly all: number;
}

const mebibyte = 2 ** 20;
const defaultLimits: BudgetLimits = { each: 8 * mebibyte, user: 32 * mebibyte, all: 96 * mebibyte };

/**
 * Ends the watch that is furthest behind whenever a limit is passed: of the user who holds the most where it is that of
 * all.
 */
export class WatchBudget {
  readonly #limits: BudgetLimits;
  readonly #holders = new Set<Holder>();
  readonly #byOwner = new Map<string, number>();
  #all = 0;

  constructor(limits: Partial<BudgetLimits> = {}) {
    this.#limits = { ...defaultLimits, ...limits };
  }

  /** Bytes held by all. */
  get held(): number {
    return this.#all;
  }

  /** Notes that `holder` holds `bytes` more, or fewer, than before. */
  change(holder: Holder, bytes: number): void {
    if (holder.held > 0) this.#holders.add(holder);
    else this.#holders.delete(holder);
    this.#all += bytes;
    const owned = (this.#byOwner.get(holder.owner) ?? 0) + bytes;
    if (owned > 0) this.#byOwner.set(holder.owner, owned);
    else this.#byOwner.delete(holder.owner);
    if (bytes > 0) this.#enforce(holder);
  }

  #enforce(grown: Holder): void {
    if (grown.held > this.#limits.each) grown.expire();
    while ((this.#byOwner.get(grown.owner) ?? 0) > this.#limits.user && this.#expireLargestOf(grown.owner));
    while (this.#all > this.#limits.all && this.#expireLargestOf(this.#largestOwner()));
  }

  #largestOwner(): string {
    return [...this.#byOwner].reduce((most, one) => (one[1] > most[1] ? one : most), ["", 0])[0];
  }

  /** False where that gave nothing back. */
  #expireLargestOf(owner: string): boolean {
    const before = this.#all;
    let largest: Holder | undefined;
    for (const holder of this.#holders)
      if (holder.owner === owner && holder.held > (largest?.held ?? 0)) largest = holder;
    largest?.expire();
    return this.#all < before;
  }
}
