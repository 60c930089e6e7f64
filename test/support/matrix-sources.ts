/** Every way by which a file can come to an import. */
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer, type AddressInfo, type Server } from "node:net";
import { basename, join } from "node:path";
import { pack } from "tar-stream";

import { makeSource, type SourceDescription } from "../../src/endpoints/sources.ts";
import { createLogger } from "../../src/log/logger.ts";
import type { ImportLimits } from "../../src/pipeline/import-image.ts";
import type { Source } from "../../src/source/source.ts";
import { streamSource } from "../../src/source/stream.ts";
import { ImagePusher } from "./container-images.ts";
import { Nginx } from "./nginx.ts";
import { startRegistry, testUser, type TestRegistry } from "./registry.ts";

export const limits: ImportLimits = { maxVirtualSize: 2 ** 40, maxScratch: 2 ** 30, maxDecoderMemory: 2 ** 28 };
/** A fault ends a test soon. */
const retry = { firstDelayMs: 10, factor: 2, maxDelayMs: 100, jitter: 0, deadlineMs: 500 };

export const sourceKinds = [
  "file",
  "pipe",
  "HTTP with ranges",
  "HTTP without ranges",
  "HTTP, chunked",
  "HTTP/1.0",
  "registry",
] as const;
export type SourceKind = (typeof sourceKinds)[number];

/** The servers of one directory. */
export class MatrixSources implements AsyncDisposable {
  readonly #directory: string;
  readonly #urls: Readonly<Partial<Record<SourceKind, string>>>;
  readonly #registry: TestRegistry;
  readonly #pushed = new Set<string>();
  readonly #end: () => Promise<void>;

  private constructor(
    directory: string,
    urls: Readonly<Partial<Record<SourceKind, string>>>,
    registry: TestRegistry,
    end: () => Promise<void>,
  ) {
    this.#directory = directory;
    this.#urls = urls;
    this.#registry = registry;
    this.#end = end;
  }

  static async start(directory: string): Promise<MatrixSources> {
    const ranged = await Nginx.start(directory);
    const whole = await Nginx.start(directory, { directives: "max_ranges 0;" });
    const [chunked, old] = await Promise.all([serve(chunkedServer(directory)), serve(oldServer(directory))]);
    const registry = await startRegistry({ auth: true, tls: true });
    const urls = {
      "HTTP with ranges": ranged.url,
      "HTTP without ranges": whole.url,
      "HTTP, chunked": urlOf(chunked),
      "HTTP/1.0": urlOf(old),
    };
    return new MatrixSources(directory, urls, registry, async () => {
      await ranged[Symbol.asyncDispose]();
      await whole[Symbol.asyncDispose]();
      for (const server of [chunked, old]) server.close();
      await registry.stop();
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#end();
  }

  /** A new source of the file at `name` below the directory. */
  async make(kind: SourceKind, name: string): Promise<Source> {
    const path = join(this.#directory, name);
    switch (kind) {
      case "pipe":
        return streamSource(createReadStream(path), "standard input");
      case "file":
        return this.#open({ kind: "file", path });
      case "registry":
        return this.#open({
          kind: "registry",
          image: `docker://${this.#registry.host}/disks:${await this.#push(path, name)}`,
          credentials: { userPassword: `${testUser.name}:${testUser.password}` },
        });
      default:
        return this.#open({ kind: "http", url: `${this.#urls[kind]!}/${name}` });
    }
  }

  #open(description: SourceDescription): Source {
    const log = createLogger({ output: { write: () => undefined } });
    return makeSource(description, { tls: { verify: false }, proxies: {}, retry, limits, log });
  }

  /** A container disk: the file below disk/ of an image. @returns its tag. */
  async #push(path: string, name: string): Promise<string> {
    const tag = name.replace(/\W/g, "-");
    if (this.#pushed.has(tag)) return tag;
    const archive = pack();
    archive.entry({ name: `disk/${basename(path)}` }, await readFile(path));
    archive.finalize();
    const parts: Uint8Array[] = [];
    for await (const part of archive) parts.push(part as Uint8Array);
    const platform = { os: "linux", architecture: "amd64" };
    await using pusher = new ImagePusher(this.#registry.host, "disks");
    await pusher.image({ layers: [{ content: Buffer.concat(parts) }], platform }, tag);
    this.#pushed.add(tag);
    return tag;
  }
}

const urlOf = (server: Server): string => `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;

async function serve<S extends Server>(server: S): Promise<S> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** Tells no length and knows no ranges, as what makes its answers while it sends them. */
const chunkedServer = (directory: string): Server =>
  createHttpServer((request, response) => {
    createReadStream(join(directory, request.url ?? "")).pipe(response);
  });

/** HTTP/1.0: the end of the connection is the end of the file. */
const oldServer = (directory: string): Server =>
  createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (head: Buffer) => {
      const [, name = ""] = /^GET (\S+) HTTP/.exec(head.toString("latin1")) ?? [];
      const path = join(directory, name);
      void stat(path).then(({ mtime }) => {
        socket.write(`HTTP/1.0 200 OK\r\nLast-Modified: ${mtime.toUTCString()}\r\n\r\n`);
        createReadStream(path).pipe(socket);
      });
    });
  });
