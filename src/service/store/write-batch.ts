/**
 * Writes that are asked for in one turn of the event loop share one transaction, so that one wait for the disk serves
 * all of them; each is answered after that. On a full disk the transaction is repeated with the reserve given up.
 */
import type { KubeObject } from "../model/object.ts";
import { isDiskFull, type SpaceReserve } from "./space-reserve.ts";

interface Write {
  readonly run: () => KubeObject;
  readonly resolve: (object: KubeObject) => void;
  readonly reject: (error: unknown) => void;
  result?: KubeObject;
  error?: unknown;
}

export interface WriteBatchDeps {
  /** Runs `work` in one transaction that is on the disk when this returns. */
  readonly commit: (work: () => void) => void;
  /** Runs `work` inside of it so that what it throws undoes its part only. */
  readonly part: <T>(work: () => T) => T;
  readonly reserve: SpaceReserve;
}

export class WriteBatch {
  readonly #deps: WriteBatchDeps;
  #writes: Write[] = [];

  constructor(deps: WriteBatchDeps) {
    this.#deps = deps;
  }

  add<T extends KubeObject>(run: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#writes.length === 0) setImmediate(() => this.flush());
      this.#writes.push({ run, resolve: resolve as Write["resolve"], reject });
    });
  }

  /** What was asked for so far is done when this returns. */
  flush(): void {
    const writes = this.#writes;
    if (writes.length === 0) return;
    this.#writes = [];
    const attempt = (): void => {
      this.#deps.commit(() => {
        for (const write of writes) this.#attempt(write);
      });
    };
    try {
      this.#withReserve(attempt);
    } catch (error) {
      for (const write of writes) write.reject(write.error ?? error);
      return;
    }
    for (const write of writes) {
      if (write.result === undefined) write.reject(write.error);
      else write.resolve(write.result);
    }
  }

  #withReserve(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!isDiskFull(error) || !this.#deps.reserve.release()) throw error;
      work();
    }
  }

  #attempt(write: Write): void {
    delete write.result;
    delete write.error;
    try {
      write.result = this.#deps.part(write.run);
    } catch (error) {
      // What finds no room makes the whole transaction fail, to be repeated with the reserve.
      if (isDiskFull(error) && this.#deps.reserve.hold()) throw error;
      write.error = error;
    }
  }
}
