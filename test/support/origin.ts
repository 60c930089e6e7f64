/** A web server with one file, whose answers follow a script: cuts, stalls, lies. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** How one request is answered; everything left out is as a good server does it. */
export interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Another content than the file. */
  readonly content?: Uint8Array;
  /** The connection ends after so many bytes of the body. */
  readonly cutAfter?: number;
  /** Nothing more is sent after so many bytes. */
  readonly stallAfter?: number;
  /** The whole file with 200, whatever range was asked for. */
  readonly ignoreRange?: boolean;
  /** 64 KiB every few milliseconds, as a server that limits each connection. */
  readonly trickle?: boolean;
  /** No Content-Length: chunked. */
  readonly chunked?: boolean;
  /** Of the file, only what it lets through is sent; the rest once it does. */
  readonly sluice?: Sluice;
}

/** Holds a file back until a test lets the next part of it through: how far an import is depends on no clock. */
export class Sluice {
  #end = 0;
  #waiting: (() => void)[] = [];

  /** Lets the file through up to this byte; all of it where none is named. */
  open(end = Infinity): void {
    this.#end = end;
    for (const goOn of this.#waiting.splice(0)) goOn();
  }

  /** Where the part that is let through ends, once that is beyond `position`. */
  async beyond(position: number): Promise<number> {
    while (this.#end <= position) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.#end;
  }
}

export interface SeenGet {
  readonly url: string;
  readonly method: string;
  readonly headers: IncomingMessage["headers"];
}

export class Origin implements AsyncDisposable {
  readonly seen: SeenGet[] = [];
  /** Bytes of bodies handed to the sockets. */
  served = 0;
  /** Requests being answered now, and the most at any time. */
  active = 0;
  mostActive = 0;
  readonly #server: Server;

  private constructor(server: Server, content: Uint8Array, script: (request: SeenGet, index: number) => Answer) {
    this.#server = server;
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      const seen = { url: request.url ?? "", method: request.method ?? "", headers: request.headers };
      this.seen.push(seen);
      const answer = script(seen, this.seen.length - 1);
      response.on("error", () => undefined);
      this.active += 1;
      this.mostActive = Math.max(this.mostActive, this.active);
      response.once("close", () => (this.active -= 1));
      this.#answer(request, response, answer, answer.content ?? content);
    });
  }

  static async start(
    content: Uint8Array,
    script: (request: SeenGet, index: number) => Answer = () => ({}),
  ): Promise<Origin> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Origin(server, content, script);
  }

  get url(): string {
    return `http://127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #answer(request: IncomingMessage, response: ServerResponse, answer: Answer, content: Uint8Array): void {
    if (answer.status !== undefined && answer.status !== 200 && answer.status !== 206) {
      response.writeHead(answer.status, answer.headers).end();
      return;
    }
    const ranges = answer.ignoreRange === true ? {} : { "accept-ranges": "bytes" };
    const headers: Record<string, string> = { etag: '"one"', ...ranges, ...answer.headers };
    const condition = request.headers["if-range"];
    const known = condition === undefined || condition === headers["etag"] || condition === headers["last-modified"];
    const asked = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    let body = content;
    let from = 0;
    let status = answer.status ?? 200;
    if (asked && known && answer.ignoreRange !== true) {
      const [first, last] = [
        Number(asked[1]),
        Math.min(asked[2] === "" ? Infinity : Number(asked[2]), content.length - 1),
      ];
      if (first >= content.length)
        return void response.writeHead(416, { "content-range": `bytes */${String(content.length)}` }).end();
      status = 206;
      body = content.subarray(first, last + 1);
      from = first;
      headers["content-range"] ??= `bytes ${String(first)}-${String(last)}/${String(content.length)}`;
    }
    if (answer.chunked !== true) headers["content-length"] ??= String(body.length);
    // An empty header in a script leaves the header out.
    response.writeHead(status, Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== "")));
    if (answer.sluice !== undefined) return void this.#pour(response, body, from, answer.sluice);
    const end = Math.min(answer.cutAfter ?? Infinity, answer.stallAfter ?? Infinity, body.length);
    this.served += end;
    const sent = body.subarray(0, end);
    if (answer.trickle === true) {
      trickle(response, sent);
      return;
    }
    if (answer.stallAfter !== undefined && end < body.length) return void response.write(sent);
    if (answer.cutAfter !== undefined && end < body.length) {
      if (end === 0) response.destroy();
      else response.write(sent, () => setImmediate(() => response.destroy()));
      return;
    }
    response.end(sent);
  }

  /** `body` begins at byte `from` of the file. */
  async #pour(response: ServerResponse, body: Uint8Array, from: number, sluice: Sluice): Promise<void> {
    response.flushHeaders();
    for (let at = 0; at < body.length;) {
      const end = Math.min((await sluice.beyond(from + at)) - from, body.length);
      if (response.destroyed) return;
      response.write(body.subarray(at, end));
      this.served += end - at;
      at = end;
    }
    response.end();
  }
}

function trickle(response: ServerResponse, body: Uint8Array, at = 0): void {
  if (response.destroyed) return;
  if (at >= body.length) return void response.end();
  response.write(body.subarray(at, at + (1 << 16)));
  setTimeout(() => {
    trickle(response, body, at + (1 << 16));
  }, 5);
}
