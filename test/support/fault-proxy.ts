/** A proxy in front of a real registry that follows the test's orders, request by request. */
import { once } from "node:events";
import { createServer, request as forward, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/**
 * `pass`: untouched. `drop`: the connection ends before the registry has seen anything. `cut`: it ends after half of
 * the body, of one of open length after 24 MiB. `hold`: nothing is forwarded and nothing answered; `stall`: nothing is
 * read either.
 */
export type Order = "pass" | "drop" | "cut" | "hold" | "stall";

export interface ProxiedRequest {
  readonly method: string;
  readonly path: string;
  /** How many of this method came, this one included. */
  readonly count: number;
}

export class FaultProxy implements AsyncDisposable {
  readonly host: string;
  readonly seen: string[] = [];
  /** Requests that have not been answered in full. */
  inFlight = 0;
  readonly #server: Server;
  readonly #registry: string;
  readonly #orders: (request: ProxiedRequest) => Order;
  readonly #counts = new Map<string, number>();

  private constructor(server: Server, registry: string, orders: (request: ProxiedRequest) => Order) {
    this.#server = server;
    this.#registry = registry;
    this.#orders = orders;
    this.host = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    server.on("request", (incoming: IncomingMessage, answer: ServerResponse) => {
      this.#handle(incoming, answer);
    });
  }

  static async start(registry: string, orders: (request: ProxiedRequest) => Order): Promise<FaultProxy> {
    const server = createServer({ requestTimeout: 0 });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new FaultProxy(server, registry, orders);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #handle(incoming: IncomingMessage, answer: ServerResponse): void {
    const { method = "", url = "", socket } = incoming;
    const count = (this.#counts.get(method) ?? 0) + 1;
    this.#counts.set(method, count);
    const order = this.#orders({ method, path: url.split("?")[0] ?? "", count });
    this.seen.push(`${method} ${order}`);
    this.inFlight += 1;
    answer.once("close", () => (this.inFlight -= 1));
    incoming.on("error", () => undefined);
    answer.on("error", () => undefined);
    if (order === "drop") return void socket.destroy();
    if (order === "stall") return;
    if (order === "hold") return void incoming.resume();
    const [hostname, port] = this.#registry.split(":");
    // The registry makes its Locations from the Host header, and so they lead here again.
    const upstream = forward({ hostname, port, method, path: url, headers: incoming.headers, agent: false });
    upstream.on("error", () => socket.destroy());
    upstream.on("response", (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers);
      response.on("error", () => socket.destroy()).pipe(answer);
    });
    answer.on("close", () => {
      if (!answer.writableFinished) upstream.destroy();
    });
    if (order === "pass") return void incoming.pipe(upstream);
    const length = incoming.headers["content-length"];
    const half = length === undefined ? 24 << 20 : Number(length) / 2;
    let passed = 0;
    incoming.on("data", (chunk: Buffer) => {
      passed += chunk.length;
      upstream.write(chunk, () => {
        if (passed < half) return;
        upstream.destroy();
        socket.destroy();
      });
    });
  }
}
