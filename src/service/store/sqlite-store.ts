/** The resources of a data directory in SQLite. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { Draft, KubeObject, ObjectKey, ObjectMeta, ResourceName } from "../model/object.ts";
import type { DataDirectory } from "./data-directory.ts";
import { listPage } from "./list-page.ts";
import { Sealing } from "./sealing.ts";
import { SqliteDatabase } from "./sqlite-database.ts";
import { migrations, ObjectTables } from "./sqlite-tables.ts";
import type { Change, ListOptions, ObjectList, ResourceStore, WatchOptions } from "./store.ts";
import { Watchers, type ResourceChange } from "./watchers.ts";

export interface SqliteStoreOptions {
  /** Told what nobody waits for: a failed sweep, a watcher that threw. */
  readonly onError: (error: unknown) => void;
  /** Milliseconds since 1970. Default Date.now. */
  readonly now?: () => number;
  /** Changes that can be read again by watchers and long lists, at most. Default 5,000. */
  readonly keptChanges?: number;
  /** And for how long, in milliseconds. Default one hour. */
  readonly keptForMs?: number;
  /** After its last change an event lives for this long, in milliseconds. Default one hour. */
  readonly eventTtlMs?: number;
}

const hourMs = 3_600_000;
const sweepEveryMs = 60_000;

interface Write {
  readonly run: () => KubeObject;
  readonly resolve: (object: KubeObject) => void;
  readonly reject: (error: unknown) => void;
  result?: KubeObject;
  error?: unknown;
}

/**
 * Writes that are asked for in one turn of the event loop share one transaction, so that one wait for the disk serves
 * all of them; each is answered after that.
 */
export class SqliteStore implements ResourceStore {
  readonly #db: SqliteDatabase;
  readonly #tables: ObjectTables;
  readonly #watchers: Watchers;
  readonly #options: Required<SqliteStoreOptions>;
  readonly #sweeper: NodeJS.Timeout;
  #version: number;
  /** Inside of a transaction: what it has changed. */
  #pending: ResourceChange[] = [];
  #writes: Write[] = [];
  #closed = false;

  private constructor(db: SqliteDatabase, sealing: Sealing, options: SqliteStoreOptions) {
    this.#db = db;
    this.#tables = new ObjectTables(db, sealing);
    this.#watchers = new Watchers(
      (resource, version, limit) => this.#tables.changesAfter(resource, version, limit),
      options.onError,
    );
    this.#options = { now: Date.now, keptChanges: 5_000, keptForMs: hourMs, eventTtlMs: hourMs, ...options };
    this.#version = this.#tables.fact("version");
    this.#sweeper = setInterval(() => this.#sweepQuietly(), sweepEveryMs).unref();
    this.#sweepQuietly();
  }

  /** @throws DvcrError E_STORE_IO. */
  static async open(directory: DataDirectory, options: SqliteStoreOptions): Promise<SqliteStore> {
    const sealing = await Sealing.open(directory.path);
    return new SqliteStore(SqliteDatabase.open(join(directory.path, "resources.db"), migrations), sealing, options);
  }

  create<T extends KubeObject>(resource: ResourceName, draft: Draft<T>): Promise<T> {
    return this.#write<T>(() => {
      const key = keyOf(resource, draft.metadata);
      if (this.#tables.find(key) !== undefined)
        throw new DvcrError("E_OBJECT_EXISTS", `${describe(key)} exists already`);
      const object = {
        ...draft,
        metadata: {
          ...withoutDeletion(draft.metadata),
          uid: randomUUID(),
          generation: 1,
          creationTimestamp: this.#timestamp(),
        },
      };
      return this.#put(key, object as unknown as T, undefined);
    });
  }

  get<T extends KubeObject>(key: ObjectKey): Promise<T | undefined> {
    return this.#read(() => this.#tables.find(key) as T | undefined);
  }

  list<T extends KubeObject>(resource: ResourceName, options: ListOptions = {}): Promise<ObjectList<T>> {
    return this.#read(() => listPage(this.#tables, resource, options) as ObjectList<T>);
  }

  update<T extends KubeObject>(resource: ResourceName, object: T): Promise<T> {
    return this.#write<T>(() => {
      const key = keyOf(resource, object.metadata);
      const current = this.#present(key, object.metadata) as T;
      const { uid, creationTimestamp, deletionTimestamp, generation, resourceVersion } = current.metadata;
      const next: T = {
        ...object,
        metadata: {
          ...withoutDeletion(object.metadata),
          uid,
          creationTimestamp,
          resourceVersion,
          generation: isDeepStrictEqual(specOf(object), specOf(current)) ? generation : generation + 1,
          ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
        },
      };
      // What cannot be written in JSON, such as undefined, is no difference.
      const plain = JSON.parse(JSON.stringify(next)) as T;
      if (deletionTimestamp !== undefined && !isHeld(plain)) return this.#drop(key, plain, current);
      return isDeepStrictEqual(plain, current) ? current : this.#put(key, plain, current);
    });
  }

  remove<T extends KubeObject>(
    key: ObjectKey,
    preconditions: { readonly uid?: string; readonly resourceVersion?: string } = {},
  ): Promise<T> {
    return this.#write<T>(() => {
      const current = this.#present(key, preconditions) as T;
      if (!isHeld(current)) return this.#drop(key, current, current);
      if (current.metadata.deletionTimestamp !== undefined) return current;
      return this.#put(
        key,
        { ...current, metadata: { ...current.metadata, deletionTimestamp: this.#timestamp() } },
        current,
      );
    });
  }

  watch(resource: ResourceName, options: WatchOptions, onChange: (change: Change) => void): () => void {
    this.#checkOpen();
    const since = options.since === undefined ? undefined : this.#knownVersion(options.since);
    return this.#watchers.add(resource, options.namespace, since, onChange);
  }

  version(): string {
    return String(this.#version);
  }

  /** Writes that were asked for are done before. */
  async close(): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#sweeper);
    this.#flush();
    this.#closed = true;
    this.#watchers.clear();
    this.#db.close();
    await Promise.resolve();
  }

  /** Removes expired events and drops changes that need not be known any more. @throws DvcrError E_STORE_IO. */
  sweep(): void {
    this.#checkOpen();
    const { now, keptChanges, keptForMs } = this.#options;
    this.#commit(() => {
      for (const key of this.#tables.expired(now())) {
        const current = this.#tables.find(key)!;
        this.#drop(key, current, current);
      }
      this.#tables.trimLog(keptChanges, now() - keptForMs, this.#watchers.oldest());
    });
  }

  #sweepQuietly(): void {
    try {
      this.sweep();
    } catch (error) {
      this.#options.onError(error);
    }
  }

  /** The object as it is, if it is the one meant. @throws DvcrError E_OBJECT_NOT_FOUND, E_OBJECT_CONFLICT. */
  #present(key: ObjectKey, meant: Partial<Pick<ObjectMeta, "uid" | "resourceVersion">>): KubeObject {
    const current = this.#tables.find(key);
    if (current === undefined) throw new DvcrError("E_OBJECT_NOT_FOUND", `${describe(key)} does not exist`);
    const { uid, resourceVersion } = current.metadata;
    if (meant.uid !== undefined && meant.uid !== uid) {
      throw new DvcrError("E_OBJECT_CONFLICT", `${describe(key)} has the uid ${uid}, not ${meant.uid}`);
    }
    if (meant.resourceVersion !== undefined && meant.resourceVersion !== resourceVersion) {
      throw new DvcrError(
        "E_OBJECT_CONFLICT",
        `${describe(key)} was changed: it has the version ${resourceVersion}, not ${meant.resourceVersion}`,
      );
    }
    return current;
  }

  #put<T extends KubeObject>(key: ObjectKey, object: T, previous: T | undefined): T {
    const expires = key.resource === "events" ? this.#options.now() + this.#options.eventTtlMs : undefined;
    return this.#change(key, previous === undefined ? "ADDED" : "MODIFIED", object, previous, (stored) =>
      this.#tables.put(key, stored, expires),
    );
  }

  #drop<T extends KubeObject>(key: ObjectKey, object: T, previous: T): T {
    return this.#change(key, "DELETED", object, previous, () => this.#tables.drop(key));
  }

  #change<T extends KubeObject>(
    key: ObjectKey,
    type: Change["type"],
    object: T,
    previous: T | undefined,
    store: (stored: T) => void,
  ): T {
    const version = this.#tables.fact("version") + 1;
    const stored = JSON.parse(
      JSON.stringify({ ...object, metadata: { ...object.metadata, resourceVersion: String(version) } }),
    ) as T;
    const change: Change = { type, object: stored, ...(previous === undefined ? {} : { previous }) };
    store(stored);
    this.#tables.log(version, this.#options.now(), key, change);
    this.#tables.setFact("version", version);
    this.#pending.push({ resource: key.resource, version, change });
    return stored;
  }

  #write<T extends KubeObject>(run: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#checkOpen();
      if (this.#writes.length === 0) setImmediate(() => this.#flush());
      this.#writes.push({ run, resolve: resolve as Write["resolve"], reject });
    });
  }

  #flush(): void {
    const writes = this.#writes;
    if (writes.length === 0) return;
    this.#writes = [];
    try {
      this.#commit(() => {
        for (const write of writes) this.#attempt(write);
      });
    } catch (error) {
      for (const write of writes) write.reject(write.error ?? error);
      return;
    }
    for (const write of writes) {
      if (write.result === undefined) write.reject(write.error);
      else write.resolve(write.result);
    }
  }

  #attempt(write: Write): void {
    const before = this.#pending.length;
    try {
      write.result = this.#db.part(write.run);
    } catch (error) {
      this.#pending.length = before;
      write.error = error;
    }
  }

  /** `work` in one transaction; watchers are told once it is on the disk. */
  #commit(work: () => void): void {
    this.#pending = [];
    this.#db.transaction(work);
    const changes = this.#pending;
    this.#pending = [];
    this.#version = changes.at(-1)?.version ?? this.#version;
    this.#watchers.publish(changes);
  }

  #read<T>(read: () => T): Promise<T> {
    return new Promise((resolve) => {
      this.#checkOpen();
      resolve(read());
    });
  }

  #knownVersion(text: string): number {
    const since = /^\d{1,15}$/.test(text) ? Number(text) : undefined;
    if (since === undefined) throw new DvcrError("E_BAD_REQUEST", "resourceVersion is not a version of this server");
    const floor = this.#tables.fact("floor");
    if (since < floor)
      throw new DvcrError(
        "E_VERSION_EXPIRED",
        `version ${since} is older than what is remembered, which begins at ${floor}`,
      );
    if (since > this.#version)
      throw new DvcrError(
        "E_VERSION_EXPIRED",
        `version ${since} is not one of this store, which stands at ${this.#version}`,
      );
    return since;
  }

  /** RFC 3339, whole seconds. */
  #timestamp(): string {
    return `${new Date(this.#options.now()).toISOString().slice(0, 19)}Z`;
  }

  #checkOpen(): void {
    if (this.#closed) throw new DvcrError("E_STORE_IO", "the store is closed");
  }
}

function keyOf(
  resource: ResourceName,
  { namespace, name }: { readonly namespace?: string; readonly name: string },
): ObjectKey {
  return { resource, namespace: namespace ?? "", name };
}

function isHeld({ metadata }: KubeObject): boolean {
  return (metadata.finalizers ?? []).length > 0;
}

/** Only the server marks an object as being deleted. */
function withoutDeletion<M extends { readonly deletionTimestamp?: string }>(metadata: M): M {
  const kept: { deletionTimestamp?: string } = { ...metadata };
  delete kept.deletionTimestamp;
  return kept as M;
}

function specOf(object: KubeObject): unknown {
  return JSON.parse(JSON.stringify((object as { spec?: unknown }).spec ?? null)) as unknown;
}

function describe({ resource, namespace, name }: ObjectKey): string {
  return `${resource} "${namespace === "" ? "" : `${namespace}/`}${name}"`;
}
