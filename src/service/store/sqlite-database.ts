/**
 * SQLite as this service uses it: one connection, one process, write-ahead log, every commit on the disk before it
 * returns.
 */
import { chmodSync, closeSync, fsyncSync, openSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import sqlite, { type Database, type Statement } from "node-sqlite3-wasm";
import { DvcrError } from "../../errors/dvcr-error.ts";
import { freeBytes, isDiskFull } from "./space-reserve.ts";

export type Value = number | string | Uint8Array | null;
export type Row = Readonly<Record<string, Value>>;

/** Faults of the database itself, not of one write. */
const troubles: ReadonlySet<string> = new Set(["E_STORE_IO", "E_STORE_DAMAGED"]);

export class SqliteDatabase {
  readonly #path: string;
  readonly #db: Database;
  readonly #statements = new Map<string, Statement>();
  readonly #logFile: number;
  #trouble: string | undefined;

  private constructor(path: string, db: Database, logFile: number) {
    this.#path = path;
    this.#db = db;
    this.#logFile = logFile;
  }

  /**
   * Opens or creates the database, readable by its owner only, and brings its schema up to date: `migrations[n]` leads
   * from version n to n + 1. The caller holds the data directory. `beforeNew` is called before an empty one is set up.
   *
   * @throws DvcrError E_STORE_IO, also for a database that a newer version wrote; E_STORE_FULL; E_STORE_LOST for a log
   *   without its database; E_STORE_DAMAGED.
   */
  static open(path: string, migrations: readonly string[], beforeNew: () => void = () => undefined): SqliteDatabase {
    try {
      refuseLoneLog(path);
      // The driver's own lock is a directory, which a killed process leaves behind.
      rmSync(`${path}.lock`, { recursive: true, force: true });
      closeSync(openSync(path, "a", 0o600));
      chmodSync(path, 0o600);
      const db = new sqlite.Database(path);
      try {
        // Exclusive before WAL: the index of the log is then kept in memory, the driver has no shared memory.
        db.exec("PRAGMA locking_mode = EXCLUSIVE");
        db.exec("PRAGMA journal_mode = WAL");
        db.exec("PRAGMA synchronous = FULL");
        db.exec("PRAGMA journal_size_limit = 67108864");
        if (versionOf(db) === 0) beforeNew();
        else checkPages(path, db);
        migrate(db, migrations);
        db.exec(`BEGIN IMMEDIATE; PRAGMA user_version = ${migrations.length}; COMMIT`);
        syncDirectory(dirname(path));
        return new SqliteDatabase(path, db, statSync(`${path}-wal`).ino);
      } catch (error) {
        db.close();
        throw error;
      }
    } catch (error) {
      throw storeError(path, error);
    }
  }

  /** Why the last transaction was not written; undefined where it was, or where the disk is merely full. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** All rows of a query. @throws DvcrError E_STORE_IO. */
  all(sql: string, values: Value[] = []): Row[] {
    return this.#withStatement(sql, (statement) => statement.all(values) as Row[]);
  }

  /** @throws DvcrError E_STORE_IO. */
  run(sql: string, values: Value[] = []): void {
    this.#withStatement(sql, (statement) => statement.run(values));
  }

  /**
   * Runs `work` in a transaction that is on the disk when this returns; whatever `work` throws undoes it.
   *
   * @throws DvcrError E_STORE_IO.
   */
  transaction<T>(work: () => T): T {
    try {
      this.run("BEGIN IMMEDIATE");
      const result = work();
      this.run("COMMIT");
      this.#checkLogFile();
      this.#trouble = undefined;
      return result;
    } catch (error) {
      if (error instanceof DvcrError && troubles.has(error.code)) this.#trouble = error.toLine();
      this.#undo("ROLLBACK");
      throw error;
    }
  }

  /** Runs `work` inside of a transaction so that what it throws undoes its part only. */
  part<T>(work: () => T): T {
    this.run("SAVEPOINT part");
    try {
      const result = work();
      this.run("RELEASE part");
      return result;
    } catch (error) {
      this.#undo("ROLLBACK TO part");
      this.#undo("RELEASE part");
      throw error;
    }
  }

  close(): void {
    for (const statement of this.#statements.values()) statement.finalize();
    this.#statements.clear();
    this.#guarded(() => this.#db.close());
  }

  #withStatement<T>(sql: string, work: (statement: Statement) => T): T {
    return this.#guarded(() => {
      let statement = this.#statements.get(sql);
      if (statement === undefined) {
        statement = this.#db.prepare(sql);
        this.#statements.set(sql, statement);
      }
      try {
        return work(statement);
      } catch (error) {
        this.#forget(sql, statement);
        throw error;
      }
    });
  }

  /**
   * SQLite tells a statement's failure once more when it is reset, and the driver takes that for one of its next use.
   */
  #forget(sql: string, statement: Statement): void {
    this.#statements.delete(sql);
    try {
      statement.finalize();
    } catch {
      // The same failure for the last time; the statement is gone.
    }
  }

  /**
   * The driver takes no lock that other programs know, and the last one of them to close the database deletes its log.
   * What was written after that would be gone with the next start, so it is not acknowledged.
   */
  #checkLogFile(): void {
    if (statSync(`${this.#path}-wal`, { throwIfNoEntry: false })?.ino === this.#logFile) return;
    throw new DvcrError(
      "E_STORE_IO",
      `another program has closed the database "${this.#path}" and removed its log; start this process again`,
    );
  }

  #undo(sql: string): void {
    try {
      this.#db.exec(sql);
    } catch {
      // SQLite has done it by itself, or there was nothing to undo.
    }
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw storeError(this.#path, error);
    }
  }
}

/** SQLite takes a log without a database for a leftover, and deletes it with all that was only in there. */
function refuseLoneLog(path: string): void {
  const sizeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  const log = `${path}-wal`;
  if (sizeOf(path) > 0 || sizeOf(log) === 0) return;
  throw new DvcrError("E_STORE_LOST", `the database "${path}" is missing or empty, and its log "${log}" is not`);
}

/** Damage that is met later would be met by a write. Reads the whole database. */
function checkPages(path: string, db: Database): void {
  const found = String(Object.values(db.all("PRAGMA quick_check(1)")[0] ?? {})[0]);
  if (found !== "ok") throw damaged(path, found);
}

function damaged(path: string, what: string, cause?: unknown): DvcrError {
  return new DvcrError("E_STORE_DAMAGED", `database "${path}": ${what}`, { cause });
}

function versionOf(db: Database): number {
  return Number(db.all("PRAGMA user_version")[0]?.["user_version"]);
}

function migrate(db: Database, migrations: readonly string[]): void {
  const version = versionOf(db);
  if (version > migrations.length) {
    throw new Error(`its schema has version ${version} and this program knows ${migrations.length}`);
  }
  for (let next = version; next < migrations.length; next++) {
    db.exec(`BEGIN IMMEDIATE; ${migrations[next]!}; PRAGMA user_version = ${next + 1}; COMMIT`);
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function storeError(path: string, error: unknown): DvcrError {
  if (error instanceof DvcrError) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (/malformed|not a database/.test(text)) return damaged(path, text, error);
  if (isDiskFull(error) || (/full|disk I\/O error/.test(text) && isFull(dirname(path))))
    return new DvcrError("E_STORE_FULL", `database "${path}": the disk is full`, { cause: error });
  return new DvcrError("E_STORE_IO", `database "${path}": ${text}`, { cause: error });
}

/** The driver says "disk I/O error" of a write that found no room: less than SQLite writes in one go. */
function isFull(directory: string): boolean {
  try {
    return freeBytes(directory) < 65_536;
  } catch {
    return false;
  }
}
