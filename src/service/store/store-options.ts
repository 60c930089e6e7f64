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
  /**
   * `dvcr restore`: an empty database is begun although there are traces of another, and secrets that cannot be read
   * stay unread.
   */
  readonly mayBeNew?: boolean;
}
