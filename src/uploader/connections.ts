/** Connections that a server holds: so many in all, a share of them from one address, and none that only waits. */
import type { Server } from "node:http";
import type { Socket } from "node:net";

export interface ConnectionLimits {
  readonly all: number;
  readonly perAddress: number;
  /** A connection that has not sent a byte by then is closed (milliseconds). */
  readonly silence: number;
  /** Addresses that stand for many clients, as reverse proxies do, and have no share of their own. */
  readonly isShared?: (address: string) => boolean;
}

/**
 * Holds `server` to the limits. Where all places are taken, the connection that has waited longest without a whole
 * request's head gives way, so that connections which ask for nothing shut nobody out. Addresses are those of TCP: what
 * a proxy forwards for whom is known only once a request has come.
 */
export function limitConnections(server: Server, limits: ConnectionLimits): void {
  const places = new Places(limits);
  server.on("connection", (socket: Socket) => {
    places.take(socket);
  });
  server.on("request", ({ socket }: { readonly socket: Socket }) => {
    places.asked(socket);
  });
  server.on("checkContinue", ({ socket }: { readonly socket: Socket }) => {
    places.asked(socket);
  });
}

class Places {
  readonly #limits: ConnectionLimits;
  readonly #byAddress = new Map<string, number>();
  /**
   * By their addresses and ports: a request over TLS comes by another socket than its connection. In order of their
   * coming.
   */
  readonly #waiting = new Map<string, Socket>();
  #all = 0;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  take(socket: Socket): void {
    const address = socket.remoteAddress ?? "";
    const { all, perAddress, silence, isShared } = this.#limits;
    const count = this.#byAddress.get(address) ?? 0;
    const isOver = count >= perAddress && isShared?.(address) !== true;
    if (isOver || (this.#all >= all && !this.#makeRoom())) {
      socket.destroy();
      return;
    }
    const key = keyOf(socket);
    this.#all += 1;
    this.#byAddress.set(address, count + 1);
    this.#waiting.set(key, socket);
    const timer = setTimeout(() => {
      if (socket.bytesRead === 0) socket.destroy();
    }, silence).unref();
    socket.once("close", () => {
      clearTimeout(timer);
      if (this.#waiting.get(key) === socket) this.#waiting.delete(key);
      this.#all -= 1;
      const left = (this.#byAddress.get(address) ?? 1) - 1;
      if (left > 0) this.#byAddress.set(address, left);
      else this.#byAddress.delete(address);
    });
  }

  asked(socket: Socket): void {
    this.#waiting.delete(keyOf(socket));
  }

  /** False where every connection has asked for something. */
  #makeRoom(): boolean {
    const [oldest] = this.#waiting;
    if (oldest === undefined) return false;
    this.#waiting.delete(oldest[0]);
    oldest[1].destroy();
    return true;
  }
}

const keyOf = ({ remoteAddress = "", remotePort = 0 }: Socket): string => `${remoteAddress} ${String(remotePort)}`;
