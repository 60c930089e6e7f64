/** The watches that are open. */
import type { Readable } from "node:stream";

import type { User } from "../security/authorize.ts";
import type { ApiRequest } from "./context.ts";
import type { ReadOptions } from "./request-options.ts";
import { WatchBudget, type BudgetLimits } from "./watch-budget.ts";
import { Watch } from "./watch.ts";

/** How often it is looked whether users may still come: a changed file of tokens holds within seconds. */
const checkMilliseconds = 2000;

/** Open watches, to be ended when the server stops, or when whoever opened them may not come any more. */
export class Watches {
  readonly #open = new Set<Watch>();
  readonly #isCurrent: (user: User) => Promise<boolean>;
  readonly #checker: NodeJS.Timeout;
  readonly #budget: WatchBudget;

  constructor(isCurrent: (user: User) => Promise<boolean>, limits: Partial<BudgetLimits> = {}) {
    this.#isCurrent = isCurrent;
    this.#budget = new WatchBudget(limits);
    this.#checker = setInterval(() => void this.#check(), checkMilliseconds).unref();
  }

  /** Throws StatusError before anything is sent. */
  open(request: ApiRequest, options: ReadOptions): Readable {
    const watch = new Watch(request, options, this.#budget);
    watch.start();
    this.#open.add(watch);
    watch.body.once("close", () => this.#open.delete(watch));
    return watch.body;
  }

  get count(): number {
    return this.#open.size;
  }

  close(): void {
    clearInterval(this.#checker);
    for (const watch of this.#open) watch.end();
  }

  async #check(): Promise<void> {
    for (const watch of [...this.#open]) {
      if (!(await this.#isCurrent(watch.user))) watch.end();
    }
  }
}
