/**
 * Writes that are asked for in one turn of the event loop share one transaction, so that one wait for the disk serves
 * all of them; each is answered after that. On a full disk the transaction is repeated without what takes space, and
 * then with the reserve given up: what takes space never gets it.
 */
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { KubeObject } from "../model/object.ts";
import { isDiskFull, type SpaceReserve } from "./space-reserve.ts";

/**
 * Called by a write that may take space. @throws DvcrError E_STORE_FULL where it does and there is none to be taken.
 */
export type RequireRoom = (takesSpace?: () => boolean) => void;

interface Write {
  readonly run: (requireRoom: RequireRoom) => KubeObject;
  readonly resolve: (object: KubeObject) => void;
  readonly reject: (error: unknown) => void;
  result?: KubeObject;
  error?: unknown;
  takesSpace?: boolean;
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

  add<T extends KubeObject>(run: (requireRoom: RequireRoom) => T): Promise<T> {
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
    const left = this.#committed(writes);
    for (const write of left) {
      if (write.result === undefined) write.reject(write.error);
      else write.resolve(write.result);
    }
  }

  /** Commits them; what made that fail is rejected, and the others are returned. */
  #committed(writes: readonly Write[]): readonly Write[] {
    let left = writes;
    for (;;) {
      try {
        this.#deps.commit(() => {
          for (const write of left) this.#attempt(write);
        });
        return left;
      } catch (error) {
        const isFull = isDiskFull(error);
        const takers = isFull ? left.filter(({ takesSpace }) => takesSpace) : left;
        if (takers.length === 0 && this.#deps.reserve.release()) continue;
        const failed = takers.length === 0 ? left : takers;
        for (const write of failed) write.reject(write.error ?? error);
        left = left.filter((write) => !failed.includes(write));
        if (left.length === 0) return left;
      }
    }
  }

  #attempt(write: Write): void {
    delete write.result;
    delete write.error;
    const requireRoom: RequireRoom = (takesSpace = () => true) => {
      if (!takesSpace()) return;
      write.takesSpace = true;
      if (!this.#deps.reserve.hasRoom())
        throw new DvcrError("E_STORE_FULL", "nothing new is taken while the disk of the data directory is full");
    };
    try {
      write.result = this.#deps.part(() => write.run(requireRoom));
    } catch (error) {
      // What finds no room makes the whole transaction fail, to be repeated.
      if (isDiskFull(error) && this.#deps.reserve.hold()) throw error;
      write.error = error;
    }
  }
}
