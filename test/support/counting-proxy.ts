/** A plain HTTP proxy in front of a registry that keeps a record of what passes. */
import { once } from "node:events";
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface PassedRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly status: number;
  /** Bytes of the request's and of the answer's body. */
  readonly sent: number;
  readonly received: number;
}

export class CountingProxy implements AsyncDisposable {
  readonly passed: PassedRequest[] = [];
  readonly host: string;
  readonly #server: Server;
  readonly #target: string;

  private constructor(server: Server, target: string) {
    this.#server = server;
    this.#target = target;
    this.host = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    server.on("request", (incoming: IncomingMessage, response: ServerResponse) => {
      this.#forward(incoming, response).catch(() => response.destroy());
    });
  }

  /** `target` is `host:port` of the registry. */
  static async start(target: string): Promise<CountingProxy> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new CountingProxy(server, target);
  }

  /** Requests by one method whose URL matches. */
  of(method: string, pattern: RegExp): PassedRequest[] {
    return this.passed.filter((one) => one.method === method && pattern.test(one.url));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #forward(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "", headers } = incoming;
    // The Host header stays as it came, so that Locations lead back through here.
    const outgoing = request(`http://${this.#target}${url}`, { method, headers });
    let sent = 0;
    let received = 0;
    incoming.on("data", (chunk: Buffer) => (sent += chunk.length));
    // A registry that refuses a body closes its connection while more of it comes.
    incoming.pipe(outgoing).on("error", () => undefined);
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.on("data", (chunk: Buffer) => (received += chunk.length));
    answer.on("end", () => this.passed.push({ method, url, status: answer.statusCode ?? 0, sent, received }));
    answer.pipe(response);
  }
}
