import type { Charge, Place } from "./place.ts";

/** What one namespace has of the places now, and has used of them since the start. */
export interface PlaceUse extends Charge {
  readonly namespace: string;
  /** Places held. */
  readonly held: number;
  /** Members that wait for their turn. */
  readonly waiting: number;
  /** Members that have begun and wait for bytes. */
  readonly idle: number;
}

interface Account {
  placeSeconds: number;
  cpuSeconds: number;
  /** Place and CPU seconds, of which half are forgotten in each half-life. */
  recent: number;
  recentAt: number;
}

/** What was used is forgotten by half in so many milliseconds: a morning's work is no claim against the evening's. */
const halfLifeMs = 5 * 60_000;
/** Namespaces that are kept apart, so that names which come and go take no memory for good. */
const mostAccounts = 1000;

/** What the members of each namespace have used. */
export class GroupUse {
  readonly #accounts = new Map<string, Account>();

  charge(namespace: string, { placeSeconds, cpuSeconds }: Charge): void {
    if (placeSeconds === 0 && cpuSeconds === 0) return;
    const account = this.#account(namespace);
    account.placeSeconds += placeSeconds;
    account.cpuSeconds += cpuSeconds;
    account.recent = recentOf(account) + placeSeconds + cpuSeconds;
    account.recentAt = performance.now();
  }

  /** Place and CPU seconds of late. */
  recent(namespace: string): number {
    const account = this.#accounts.get(namespace);
    return account === undefined ? 0 : recentOf(account);
  }

  /** Of every namespace that has members, or has used something. */
  all(members: readonly Place[]): PlaceUse[] {
    const namespaces = new Set([...this.#accounts.keys(), ...members.map(({ namespace }) => namespace)]);
    return [...namespaces].map((namespace) => {
      const own = members.filter((one) => one.namespace === namespace);
      const { placeSeconds = 0, cpuSeconds = 0 } = this.#accounts.get(namespace) ?? {};
      return {
        namespace,
        held: own.filter(({ isHeld }) => isHeld).length,
        waiting: own.filter(({ isWaiting }) => isWaiting).length,
        idle: own.filter(({ isHeld, isWaiting, hasBegun }) => hasBegun && !isHeld && !isWaiting).length,
        placeSeconds,
        cpuSeconds,
      };
    });
  }

  #account(namespace: string): Account {
    const known = this.#accounts.get(namespace);
    if (known !== undefined) return known;
    if (this.#accounts.size >= mostAccounts) {
      const [least] = [...this.#accounts].sort(([, one], [, other]) => recentOf(one) - recentOf(other));
      this.#accounts.delete(least![0]);
    }
    const account = { placeSeconds: 0, cpuSeconds: 0, recent: 0, recentAt: performance.now() };
    this.#accounts.set(namespace, account);
    return account;
  }
}

const recentOf = ({ recent, recentAt }: Account): number =>
  recent * 0.5 ** ((performance.now() - recentAt) / halfLifeMs);
