import type { Draft, KubeObject, ObjectKey, ResourceName } from "../model/object.ts";

/**
 * Where resources live: embedded (SQLite) here, a Kubernetes API server in a later build. Everything is as the
 * Kubernetes API has it: one counter of versions over the whole store, optimistic locking by resourceVersion, deletion
 * held back by finalizers.
 */
export interface ResourceStore {
  /** Sets uid, resourceVersion, generation 1 and creationTimestamp. Throws E_OBJECT_EXISTS. */
  create<T extends KubeObject>(resource: ResourceName, draft: Draft<T>): Promise<T>;
  get<T extends KubeObject>(key: ObjectKey): Promise<T | undefined>;
  /** Ordered by namespace and name. Throws E_VERSION_EXPIRED for an old `continue`. */
  list<T extends KubeObject>(resource: ResourceName, options?: ListOptions): Promise<ObjectList<T>>;
  /**
   * Replaces the object that has `object.metadata.resourceVersion`; uid, creationTimestamp and deletionTimestamp stay,
   * generation grows where `spec` changed. Nothing changed: nothing is written. One that is being deleted and has lost
   * its last finalizer is gone. Throws E_OBJECT_NOT_FOUND, E_OBJECT_CONFLICT.
   */
  update<T extends KubeObject>(resource: ResourceName, object: T): Promise<T>;
  /**
   * Removes it, or marks it as being deleted where finalizers hold it. Throws E_OBJECT_NOT_FOUND, E_OBJECT_CONFLICT.
   */
  remove<T extends KubeObject>(
    key: ObjectKey,
    preconditions?: { readonly uid?: string; readonly resourceVersion?: string },
  ): Promise<T>;
  /**
   * Calls back for every change after `since` (a resourceVersion; missing: from now on), in order, until the returned
   * function is called. Throws E_VERSION_EXPIRED where the store no longer knows what came after `since`.
   */
  watch(resource: ResourceName, options: WatchOptions, onChange: (change: Change) => void): () => void;
  /** Uids of images whose resources were here and are gone. What the store never knew is not among them. */
  deletedImages(): Promise<ReadonlySet<string>>;
  /** These, deleted up to the version `upTo`, need not be remembered any more. */
  forgetDeletedImages(uids: Iterable<string>, upTo: string): Promise<void>;
  /** The version of the newest change. */
  version(): string;
  close(): Promise<void>;
}

export interface ListOptions {
  /** Missing: all namespaces. */
  readonly namespace?: string;
  readonly limit?: number;
  /** From ObjectList.continue. */
  readonly continue?: string;
}

export interface ObjectList<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
  /** Set where there is more. */
  readonly continue?: string;
  readonly remaining?: number;
}

export interface WatchOptions {
  readonly namespace?: string;
  readonly since?: string;
}

export interface Change {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  /** As it is now; for DELETED as it was last, with the version of its deletion. */
  readonly object: KubeObject;
  /**
   * As it was before; missing for ADDED. Selectors need it: an object that no longer matches is a DELETED to its
   * watcher.
   */
  readonly previous?: KubeObject;
}
