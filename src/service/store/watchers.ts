/** Who wants to know of changes: live ones are told by each commit, those that begin in the past read the log first. */
import type { ResourceName } from "../model/object.ts";
import type { LoggedChange } from "./sqlite-tables.ts";
import type { Change } from "./store.ts";

export interface ResourceChange extends LoggedChange {
  readonly resource: ResourceName;
}

/** Changes read from the log at once; other work gets its turn in between. */
const replayPage = 100;
/** After a failure to read the log. */
const replayAgainMs = 1000;

interface Watcher {
  readonly resource: ResourceName;
  readonly namespace: string | undefined;
  readonly onChange: (change: Change) => void;
  /** The version that was seen last; undefined once it is told by each commit. */
  behindAt: number | undefined;
  stopped: boolean;
}

export class Watchers {
  readonly #watchers = new Set<Watcher>();
  readonly #changesAfter: (resource: ResourceName, version: number, limit: number) => LoggedChange[];
  readonly #onError: (error: unknown) => void;

  constructor(
    changesAfter: (resource: ResourceName, version: number, limit: number) => LoggedChange[],
    onError: (error: unknown) => void,
  ) {
    this.#changesAfter = changesAfter;
    this.#onError = onError;
  }

  /** `since`: missing for one that wants only what comes. */
  add(
    resource: ResourceName,
    namespace: string | undefined,
    since: number | undefined,
    onChange: (change: Change) => void,
  ): () => void {
    const watcher: Watcher = { resource, namespace, onChange, behindAt: since, stopped: false };
    this.#watchers.add(watcher);
    if (since !== undefined) setImmediate(() => this.#replay(watcher));
    return () => {
      watcher.stopped = true;
      this.#watchers.delete(watcher);
    };
  }

  /** The oldest version that somebody still has to read from. */
  oldest(): number {
    return Math.min(...[...this.#watchers].map(({ behindAt }) => behindAt ?? Infinity));
  }

  publish(changes: readonly ResourceChange[]): void {
    for (const { resource, change } of changes) {
      for (const watcher of [...this.#watchers]) {
        if (watcher.resource === resource && watcher.behindAt === undefined) this.#tell(watcher, change);
      }
    }
  }

  clear(): void {
    for (const watcher of this.#watchers) watcher.stopped = true;
    this.#watchers.clear();
  }

  #replay(watcher: Watcher): void {
    if (watcher.stopped || watcher.behindAt === undefined) return;
    let page: LoggedChange[];
    try {
      page = this.#changesAfter(watcher.resource, watcher.behindAt, replayPage);
    } catch (error) {
      this.#onError(error);
      // Or it would never hear of anything again, and keep the log from being trimmed.
      setTimeout(() => {
        this.#replay(watcher);
      }, replayAgainMs).unref();
      return;
    }
    for (const { change } of page) this.#tell(watcher, change);
    // Nothing is committed between the read and this line, so the next change comes by publish().
    if (page.length < replayPage) {
      watcher.behindAt = undefined;
      return;
    }
    watcher.behindAt = page.at(-1)!.version;
    setImmediate(() => this.#replay(watcher));
  }

  #tell(watcher: Watcher, change: Change): void {
    if (
      watcher.stopped ||
      (watcher.namespace !== undefined && (change.object.metadata.namespace ?? "") !== watcher.namespace)
    )
      return;
    try {
      watcher.onChange(change);
    } catch (error) {
      this.#onError(error);
    }
  }
}
