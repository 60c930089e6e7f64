/** The resources of a data directory in SQLite. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { Draft, KubeObject, ObjectKey, ObjectMeta, ResourceName } from "../model/object.ts";
import type { DataDirectory } from "./data-directory.ts";
import { knownVersion, listPage } from "./list-page.ts";
import { contentOf, describe, isHeld, isImage, keyOf, specOf, withoutDeletion } from "./object-changes.ts";
import { Sealing } from "./sealing.ts";
import type { SpaceReserve } from "./space-reserve.ts";
import type { SqliteStoreOptions } from "./store-options.ts";
import { requireKnown } from "./traces.ts";
import { SqliteDatabase } from "./sqlite-database.ts";
import { hasSealed, migrations, ObjectTables } from "./sqlite-tables.ts";
import type { Change, ListOptions, ObjectList, ResourceStore, WatchOptions } from "./store.ts";
import { WriteBatch, type RequireRoom } from "./write-batch.ts";
import { Watchers, type ResourceChange } from "./watchers.ts";

export const databaseFile = "resources.db";
const hourMs = 3_600_000;
const sweepEveryMs = 60_000;

/** Every write is on the disk before it is answered. */
export class SqliteStore implements ResourceStore {
  readonly #db: SqliteDatabase;
  readonly #tables: ObjectTables;
  readonly #watchers: Watchers;
  readonly #batch: WriteBatch;
  readonly #options: Required<Omit<SqliteStoreOptions, "mayBeNew">>;
  readonly #sweeper: NodeJS.Timeout;
  #version: number;
  /** Inside of a transaction: what it has changed. */
  #pending: ResourceChange[] = [];
  #closed = false;

  private constructor(db: SqliteDatabase, sealing: Sealing, reserve: SpaceReserve, options: SqliteStoreOptions) {
    this.#db = db;
    this.#tables = new ObjectTables(db, sealing);
    this.#batch = new WriteBatch({
      commit: (work) => this.#commit(work),
      part: (work) => this.#part(work),
      reserve,
    });
    this.#watchers = new Watchers(
      (resource, version, limit) => this.#tables.changesAfter(resource, version, limit),
      options.onError,
    );
    this.#options = { now: Date.now, keptChanges: 5_000, keptForMs: hourMs, eventTtlMs: hourMs, ...options };
    this.#version = this.#tables.fact("version");
    this.#sweeper = setInterval(() => this.#sweepQuietly(), sweepEveryMs).unref();
    this.#sweepQuietly();
  }

  /**
   * Opens the database of the directory. A new one is made only where nothing shows that there was one.
   *
   * @throws DvcrError E_STORE_IO, E_STORE_FULL, E_STORE_LOST, E_STORE_DAMAGED.
   */
  static async open(directory: DataDirectory, options: SqliteStoreOptions): Promise<SqliteStore> {
    const { path, reserve } = directory;
    const db = await reserve.whenFull(() =>
      Promise.resolve().then(() =>
        SqliteDatabase.open(join(path, databaseFile), migrations, () => {
          if (options.mayBeNew !== true) requireKnown(path);
        }),
      ),
    );
    try {
      const sealing = await Sealing.open(path, { isNeeded: hasSealed(db) && options.mayBeNew !== true });
      return new SqliteStore(db, sealing, reserve, options);
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** Tells this database from any other. */
  get identity(): string {
    return this.#tables.identity();
  }

  create<T extends KubeObject>(resource: ResourceName, draft: Draft<T>): Promise<T> {
    return this.#write<T>((requireRoom) => {
      const key = keyOf(resource, draft.metadata);
      requireRoom();
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
    return this.#write<T>((requireRoom) => {
      const key = keyOf(resource, object.metadata);
      const current = this.#present(key, object.metadata) as T;
      requireRoom(() => !isDeepStrictEqual(contentOf(object), contentOf(current)));
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
    const since =
      options.since === undefined ? undefined : knownVersion(options.since, this.#tables.fact("floor"), this.#version);
    return this.#watchers.add(resource, options.namespace, since, onChange);
  }

  /** An object as it was, uid included, from what is stored of its image. @throws DvcrError E_OBJECT_EXISTS. */
  restore<T extends KubeObject>(resource: ResourceName, draft: Draft<T>, uid: string): Promise<T> {
    return this.#write<T>(() => {
      const key = keyOf(resource, draft.metadata);
      if (this.#tables.find(key) !== undefined)
        throw new DvcrError("E_OBJECT_EXISTS", `${describe(key)} exists already`);
      const metadata = { ...draft.metadata, uid, generation: 1, creationTimestamp: this.#timestamp() };
      this.#tables.forgetDeleted(uid, Number.MAX_SAFE_INTEGER);
      return this.#put(key, { ...draft, metadata } as unknown as T, undefined);
    });
  }

  /** Secrets go that the key of this directory does not open; how many they were. */
  dropSecrets(): Promise<number> {
    return this.#read(() => {
      const count = this.#tables.count("secrets", undefined, undefined);
      this.#commit(() => {
        this.#tables.dropSealed();
        this.#tables.setFact("floor", this.#tables.fact("version"));
      });
      return count;
    });
  }

  deletedImages(): Promise<ReadonlySet<string>> {
    return this.#read(() => new Set(this.#tables.deletedUids()));
  }

  forgetDeletedImages(uids: Iterable<string>, upTo: string): Promise<void> {
    return this.#read(() => {
      this.#commit(() => {
        for (const uid of uids) this.#tables.forgetDeleted(uid, Number(upTo));
      });
    });
  }

  version(): string {
    return String(this.#version);
  }

  /** Why nothing can be written, by the last attempt. Each sweep is one. */
  get trouble(): string | undefined {
    return this.#db.trouble;
  }

  /** Writes that were asked for are done before. */
  async close(): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#sweeper);
    this.#batch.flush();
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
    return this.#change(key, "DELETED", object, previous, (stored) => {
      this.#tables.drop(key);
      if (isImage(key.resource)) this.#tables.noteDeleted(stored.metadata.uid, Number(stored.metadata.resourceVersion));
    });
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

  #write<T extends KubeObject>(run: (requireRoom: RequireRoom) => T): Promise<T> {
    return new Promise((resolve) => {
      this.#checkOpen();
      resolve(this.#batch.add(run));
    });
  }

  #part<T>(work: () => T): T {
    const before = this.#pending.length;
    try {
      return this.#db.part(work);
    } catch (error) {
      this.#pending.length = before;
      throw error;
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

  /** RFC 3339, whole seconds. */
  #timestamp(): string {
    return `${new Date(this.#options.now()).toISOString().slice(0, 19)}Z`;
  }

  #checkOpen(): void {
    if (this.#closed) throw new DvcrError("E_STORE_IO", "the store is closed");
  }
}
