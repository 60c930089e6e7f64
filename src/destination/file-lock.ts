/** A lock file for what must be read, changed and replaced as one, across processes. */
import { randomUUID } from "node:crypto";
import { open, readFile, rename, stat, unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { throwIfCancelled } from "../retry/cancel.ts";

/** Holders need milliseconds; one that is silent for this long has died on another machine. */
const staleAfterMs = 60_000;
const pollMs = 25;
/** Tells this process from a dead one with its number: in a container every start has the same. */
const processToken = randomUUID();

/**
 * Runs `work` while `path` is held as a lock file, waiting for other holders. A lock whose owner has died is taken
 * over. File system errors are passed on as they are.
 */
export async function withFileLock<T>(path: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const seen = new Map<string, number>();
  while (!(await tryAcquire(path))) {
    throwIfCancelled(signal);
    if (await isStale(path, seen)) await breakLock(path);
    else await delay(pollMs);
  }
  try {
    return await work();
  } finally {
    await unlink(path).catch(() => {});
  }
}

async function tryAcquire(path: string): Promise<boolean> {
  try {
    const file = await open(path, "wx", 0o644);
    try {
      await file.writeFile(`${String(process.pid)} ${hostname()} ${processToken}\n`);
    } catch (error) {
      // On a full disk: a lock without an owner would stop everybody for a minute.
      await unlink(path).catch(() => {});
      throw error;
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** `seen`: since when the waiting one has seen which lock, by a clock that nobody sets. */
async function isStale(path: string, seen: Map<string, number>): Promise<boolean> {
  try {
    const [owner, status] = await Promise.all([readFile(path, "utf8"), stat(path)]);
    const [pid, host, token] = owner.trim().split(" ");
    if (host === hostname() && pid !== undefined)
      return Number(pid) === process.pid ? token !== processToken : !isAlive(Number(pid));
    const lock = `${status.ino} ${status.mtimeMs} ${owner}`;
    const since = seen.get(lock) ?? performance.now();
    seen.set(lock, since);
    return performance.now() - since > staleAfterMs;
  } catch {
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Renamed first: of two that find the same dead lock, one wins and a fresh lock is not removed by the other. */
async function breakLock(path: string): Promise<void> {
  const aside = `${path}.${String(process.pid)}.stale`;
  await rename(path, aside).then(
    () => unlink(aside),
    () => {},
  );
}
