/**
 * The data directory of the images service: one process at a time, and that process is reached through `control.sock`
 * in it. The socket is the lock: it answers as long as its owner lives, and a killed process leaves one that refuses.
 */
import { chmod, mkdir, open, unlink, type FileHandle } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { withFileLock } from "../../destination/file-lock.ts";
import { DvcrError } from "../../errors/dvcr-error.ts";
import { isDiskFull, SpaceReserve } from "./space-reserve.ts";

const socketName = "control.sock";

export class DataDirectory {
  readonly path: string;
  /** What lets resources be deleted and images be collected on a full disk. */
  readonly reserve: SpaceReserve;
  readonly #server: Server;
  readonly #handle: FileHandle;
  #listener: RequestListener = (_request, response) => response.writeHead(503).end();

  private constructor(path: string, reserve: SpaceReserve, server: Server, handle: FileHandle) {
    this.path = path;
    this.reserve = reserve;
    this.#server = server;
    this.#handle = handle;
    server.on("request", (request, response) => this.#listener(request, response));
  }

  /**
   * Creates the directory where needed, readable by its owner only, and takes it for this process.
   *
   * @throws DvcrError E_DATA_DIR_IN_USE, E_STORE_IO, E_STORE_FULL.
   */
  static async acquire(path: string): Promise<DataDirectory> {
    try {
      await mkdir(path, { recursive: true, mode: 0o700 });
      await chmod(path, 0o700);
      const handle = await open(path, "r");
      try {
        const { server, reserve } = await listenAlone(path, handle);
        return new DataDirectory(path, reserve, server, handle);
      } catch (error) {
        await handle.close();
        throw error;
      }
    } catch (error) {
      throw error instanceof DvcrError
        ? error
        : new DvcrError(
            isDiskFull(error) ? "E_STORE_FULL" : "E_STORE_IO",
            `data directory "${path}": ${(error as Error).message}`,
            { cause: error },
          );
    }
  }

  /** Who answers requests to the control socket; before the first call they get 503. */
  answerWith(listener: RequestListener): void {
    this.#listener = listener;
  }

  /** Gives the directory back. */
  async release(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await unlink(join(this.path, socketName)).catch(() => {});
    await this.#handle.close();
  }
}

/**
 * Runs `work` with a path by which the control socket of `directory` is reached, however long the directory's own path
 * is: a socket's address holds 107 bytes. A name for requests, not for other processes.
 */
export async function withControlSocket<T>(directory: string, work: (socketPath: string) => Promise<T>): Promise<T> {
  const handle = await open(directory, "r");
  try {
    return await work(addressBelow(handle));
  } finally {
    await handle.close();
  }
}

async function listenAlone(
  path: string,
  handle: FileHandle,
): Promise<{ readonly server: Server; readonly reserve: SpaceReserve }> {
  const address = addressBelow(handle);
  // Before the lock is written, which needs a block of its own.
  const inUse = await answers(address);
  if (inUse) throw new DvcrError("E_DATA_DIR_IN_USE", `another process uses the data directory "${path}"`);
  const reserve = SpaceReserve.open(path);
  // Only for the moment between asking whether somebody answers and answering oneself.
  return withFileLock(join(path, "control.lock"), new AbortController().signal, async () => {
    if (await answers(address))
      throw new DvcrError("E_DATA_DIR_IN_USE", `another process uses the data directory "${path}"`);
    await unlink(join(path, socketName)).catch(() => {});
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(address, () => {
        server.off("error", reject);
        resolve();
      });
    });
    await chmod(join(path, socketName), 0o600);
    server.unref();
    return { server, reserve };
  });
}

function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

function addressBelow(handle: FileHandle): string {
  return `/proc/self/fd/${handle.fd}/${socketName}`;
}
