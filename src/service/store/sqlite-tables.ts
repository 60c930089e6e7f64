/** Objects and the log of their changes as rows; secrets are sealed. */
import { randomUUID } from "node:crypto";
import type { KubeObject, ObjectKey, ResourceName } from "../model/object.ts";
import type { Sealing } from "./sealing.ts";
import type { Row, SqliteDatabase, Value } from "./sqlite-database.ts";
import type { Change } from "./store.ts";

/**
 * `facts` holds the newest version (`version`) and the newest one whose change was dropped from the log (`floor`).
 * Times are milliseconds since 1970. `identity` has one row, which tells this database from any other; `deleted_images`
 * remembers the images whose resources are gone, until they are gone from the store too.
 */
export const migrations: readonly string[] = [
  `CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
   INSERT INTO facts VALUES ('version', 0), ('floor', 0);
   CREATE TABLE objects (
     resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, expires INTEGER, body NOT NULL,
     UNIQUE (resource, namespace, name));
   CREATE INDEX objects_expiring ON objects (expires) WHERE expires IS NOT NULL;
   CREATE TABLE changes (
     version INTEGER PRIMARY KEY, time INTEGER NOT NULL,
     resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
     type TEXT NOT NULL, object NOT NULL, previous);
   CREATE INDEX changes_of ON changes (resource, version)`,
  `CREATE TABLE identity (id TEXT NOT NULL);
   CREATE TABLE deleted_images (uid TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID`,
];

/** Holds passwords. */
const sealed: ReadonlySet<ResourceName> = new Set(["secrets"]);

/** True where there is something that only the key of the data directory opens. */
export function hasSealed(db: SqliteDatabase): boolean {
  return [...sealed].some(
    (resource) => db.all("SELECT 1 AS one FROM objects WHERE resource = ? LIMIT 1", [resource]).length > 0,
  );
}

export interface LoggedChange {
  readonly version: number;
  readonly change: Change;
}

export class ObjectTables {
  readonly #db: SqliteDatabase;
  readonly #sealing: Sealing;

  constructor(db: SqliteDatabase, sealing: Sealing) {
    this.#db = db;
    this.#sealing = sealing;
  }

  fact(name: "version" | "floor"): number {
    return Number(this.#db.all("SELECT value FROM facts WHERE name = ?", [name])[0]!["value"]);
  }

  setFact(name: "version" | "floor", value: number): void {
    this.#db.run("UPDATE facts SET value = ? WHERE name = ?", [value, name]);
  }

  /** Made at its first use. */
  identity(): string {
    const read = (): unknown => this.#db.all("SELECT id FROM identity")[0]?.["id"];
    if (read() === undefined) this.#db.run("INSERT INTO identity VALUES (?)", [randomUUID()]);
    return String(read());
  }

  dropSealed(): void {
    for (const resource of sealed) {
      this.#db.run("DELETE FROM objects WHERE resource = ?", [resource]);
      this.#db.run("DELETE FROM changes WHERE resource = ?", [resource]);
    }
  }

  noteDeleted(uid: string, version: number): void {
    this.#db.run("INSERT OR REPLACE INTO deleted_images VALUES (?, ?)", [uid, version]);
  }

  deletedUids(): string[] {
    return this.#db.all("SELECT uid FROM deleted_images").map((row) => String(row["uid"]));
  }

  forgetDeleted(uid: string, upTo: number): void {
    this.#db.run("DELETE FROM deleted_images WHERE uid = ? AND version <= ?", [uid, upTo]);
  }

  find({ resource, namespace, name }: ObjectKey): KubeObject | undefined {
    const row = this.#db.all(
      "SELECT resource, namespace, name, body FROM objects WHERE resource = ? AND namespace = ? AND name = ?",
      [resource, namespace, name],
    )[0];
    return row && this.#open(row, "body");
  }

  put(key: ObjectKey, object: KubeObject, expires: number | undefined): void {
    this.#db.run(
      `INSERT INTO objects (resource, namespace, name, expires, body) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (resource, namespace, name) DO UPDATE SET expires = excluded.expires, body = excluded.body`,
      [key.resource, key.namespace, key.name, expires ?? null, this.#close(key, object)],
    );
  }

  drop({ resource, namespace, name }: ObjectKey): void {
    this.#db.run("DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?", [resource, namespace, name]);
  }

  /** In order of namespace and name, from after `after` on. */
  page(
    resource: ResourceName,
    namespace: string | undefined,
    after: ListPosition | undefined,
    limit: number,
  ): KubeObject[] {
    const { where, values } = range(resource, namespace, after);
    const rows = this.#db.all(
      `SELECT resource, namespace, name, body FROM objects WHERE ${where} ORDER BY namespace, name LIMIT ?`,
      [...values, limit],
    );
    return rows.map((row) => this.#open(row, "body"));
  }

  count(resource: ResourceName, namespace: string | undefined, after: ListPosition | undefined): number {
    const { where, values } = range(resource, namespace, after);
    return Number(this.#db.all(`SELECT count(*) AS n FROM objects WHERE ${where}`, values)[0]!["n"]);
  }

  expired(now: number): ObjectKey[] {
    return this.#db.all("SELECT resource, namespace, name FROM objects WHERE expires <= ?", [
      now,
    ]) as unknown as ObjectKey[];
  }

  log(version: number, time: number, key: ObjectKey, { type, object, previous }: Change): void {
    this.#db.run("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [
      version,
      time,
      key.resource,
      key.namespace,
      key.name,
      type,
      this.#close(key, object),
      previous === undefined ? null : this.#close(key, previous),
    ]);
  }

  /** Oldest first. */
  changesAfter(resource: ResourceName, version: number, limit: number): LoggedChange[] {
    const rows = this.#db.all(
      "SELECT resource, namespace, name, version, type, object, previous FROM changes WHERE " +
        "resource = ? AND version > ? ORDER BY version LIMIT ?",
      [resource, version, limit],
    );
    return rows.map((row) => ({
      version: Number(row["version"]),
      change: {
        type: row["type"] as Change["type"],
        object: this.#open(row, "object"),
        ...(row["previous"] === null ? {} : { previous: this.#open(row, "previous") }),
      },
    }));
  }

  /** Drops all but the newest `keep` changes, and those from before `time`, but none after `upTo`. */
  trimLog(keep: number, time: number, upTo: number): void {
    const [row] = this.#db.all(
      "SELECT max(version) AS floor FROM changes WHERE version <= ? AND (time < ? OR version <= ?)",
      [upTo, time, this.fact("version") - keep],
    );
    if (row?.["floor"] === null || row === undefined) return;
    this.setFact("floor", Number(row["floor"]));
    this.#db.run("DELETE FROM changes WHERE version <= ?", [row["floor"]!]);
  }

  #close(key: ObjectKey, object: KubeObject): Value {
    const text = JSON.stringify(object);
    return sealed.has(key.resource) ? this.#sealing.seal(text, contextOf(key)) : text;
  }

  #open(row: Row, column: string): KubeObject {
    const value = row[column]!;
    const text =
      typeof value === "string"
        ? value
        : this.#sealing.unseal(value as Uint8Array, contextOf(row as unknown as ObjectKey));
    return JSON.parse(text) as KubeObject;
  }
}

function contextOf({ resource, namespace, name }: ObjectKey): string {
  return `${resource}/${namespace}/${name}`;
}

/** Where a list stands. */
export interface ListPosition {
  readonly namespace: string;
  readonly name: string;
}

function range(
  resource: ResourceName,
  namespace: string | undefined,
  after: ListPosition | undefined,
): { where: string; values: Value[] } {
  const parts = ["resource = ?"];
  const values: Value[] = [resource];
  if (namespace !== undefined) {
    parts.push("namespace = ?");
    values.push(namespace);
  }
  if (after !== undefined) {
    parts.push("(namespace, name) > (?, ?)");
    values.push(after.namespace, after.name);
  }
  return { where: parts.join(" AND "), values };
}
