/** A registry that follows a script: its exchanges are data, faults included, and it keeps what it was sent. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Clock } from "../../src/retry/clock.ts";

export interface ScriptedExchange {
  readonly method: string;
  /** Path without the query, exact. */
  readonly path: string;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Reads this many bytes of the request's body, then drops the connection without an answer. */
  readonly cutRequestAfter?: number;
  /** Takes the whole request, then drops the connection without an answer. */
  readonly loseAnswer?: boolean;
  /** Takes the whole request and says nothing, for as long as the client waits. */
  readonly stall?: boolean;
  /** Sends this many bytes of the answer's body, then drops the connection. */
  readonly cutAnswerAfter?: number;
  /** Called when the request's head has come. */
  readonly onRequest?: () => void;
}

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

export class FakeRegistry implements AsyncDisposable {
  readonly requests: SeenRequest[] = [];
  /** What did not follow the script. */
  readonly surprises: string[] = [];
  readonly host: string;
  readonly #script: ScriptedExchange[];
  readonly #server: Server;

  private constructor(server: Server, script: ScriptedExchange[]) {
    this.#server = server;
    this.#script = script;
    this.host = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    server.on("request", (request: IncomingMessage, response: ServerResponse) => void this.#answer(request, response));
  }

  /** `GET /v2/` is answered 200 by itself where the script does not begin with it. */
  static async start(script: readonly ScriptedExchange[]): Promise<FakeRegistry> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new FakeRegistry(server, [...script]);
  }

  /** Exchanges that have not taken place. */
  get left(): readonly ScriptedExchange[] {
    return this.#script;
  }

  /** `METHOD path` of everything that came, the first contact left out. */
  get log(): string[] {
    return this.requests.filter((one) => one.path !== "/v2/").map((one) => `${one.method} ${one.path}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://x");
    const { method = "", socket } = request;
    const next = this.#script[0];
    const scripted = next?.method === method && next.path === pathname;
    if (!scripted && pathname === "/v2/") {
      response.writeHead(200).end();
      return;
    }
    if (scripted) this.#script.shift();
    else this.surprises.push(`${method} ${request.url ?? ""}`);
    const exchange: ScriptedExchange = scripted ? next : { method, path: pathname, status: 418 };
    exchange.onRequest?.();
    const parts: Buffer[] = [];
    let length = 0;
    for await (const part of request as AsyncIterable<Buffer>) {
      parts.push(part);
      length += part.length;
      if (exchange.cutRequestAfter !== undefined && length >= exchange.cutRequestAfter) break;
    }
    this.requests.push({
      method,
      path: pathname,
      query: searchParams,
      headers: request.headers,
      body: Buffer.concat(parts),
    });
    if (exchange.cutRequestAfter !== undefined || exchange.loseAnswer === true) {
      socket.destroy();
      return;
    }
    if (exchange.stall === true) return;
    const body = Buffer.from(exchange.body ?? "");
    const lengthHeader = method === "HEAD" || exchange.status === 204 ? {} : { "content-length": String(body.length) };
    response.writeHead(exchange.status ?? 200, { ...lengthHeader, ...exchange.headers });
    if (exchange.cutAnswerAfter === undefined) response.end(body);
    else response.write(body.subarray(0, exchange.cutAnswerAfter), () => response.destroy());
  }
}

/** Time that passes only in sleeps, and keeps their lengths. */
export class FakeClock implements Clock {
  readonly sleeps: number[] = [];
  #now = 0;

  now(): number {
    return this.#now;
  }

  random(): number {
    return 0;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    this.sleeps.push(ms);
    this.#now += ms;
    // A turn of the event loop, as any wait is, so that a busy test still sees its signals.
    return new Promise((resolve, reject) => {
      setImmediate(() => {
        if (signal.aborted) reject(signal.reason as Error);
        else resolve();
      });
    });
  }

  advance(ms: number): void {
    this.#now += ms;
  }
}
