/** A registry that behaves as people report of real ones. It keeps blobs in memory, by repository. */
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface FieldBehaviour {
  /** A PATCH with Content-Range takes so many bytes at most, more is 416 (GHCR). */
  readonly chunkLimit?: number;
  /** What Range tells: all bytes, those of the first PATCH (ECR), or those of the last one (Aliyun). */
  readonly range?: "all" | "first" | "last" | "none";
  /** Of a PATCH: 202, or 201 (ECR). */
  readonly patched?: number;
  /** The status of every PATCH of a session but the first (Google Artifact Registry). */
  readonly secondPatch?: number;
  /** Every PATCH replaces what came before, and no digest is checked (Artifactory). */
  readonly keepsLastPart?: boolean;
  /** Of GET of an upload session. */
  readonly sessionGet?: number;
  /** Of DELETE of an upload session. */
  readonly sessionDelete?: number;
  /** A PATCH without Content-Length is refused with 411. */
  readonly needsLength?: boolean;
  /** A body that is longer is 413 as soon as that shows (Cloudflare, nginx). */
  readonly bodyLimit?: number;
  /** The connection of the first PATCH is cut after so many bytes, none of which are kept. */
  readonly cutFirst?: number;
  /** Of HEAD of a blob: an error, or one that tells no length. */
  readonly blobHead?: number | "no-length";
  /** HEAD of a new blob is 404 so many times. */
  readonly blobHeadMisses?: number;
  /** Answers a request itself. */
  readonly first?: (request: IncomingMessage, response: ServerResponse, url: URL) => boolean;
}

export interface FieldRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: IncomingMessage["headers"];
  status: number;
  /** Bytes of the body that came. */
  length: number;
}

interface Upload {
  data: Buffer[];
  length: number;
  patches: number;
  first: number;
  last: number;
}

class Refused extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string) {
    super(code);
    this.status = status;
    this.code = code;
  }
}

export class FieldRegistry implements AsyncDisposable {
  readonly requests: FieldRequest[] = [];
  readonly blobs = new Map<string, Buffer>();
  readonly uploads = new Map<string, Upload>();
  readonly #manifests = new Map<string, { readonly bytes: Buffer; readonly type: string }>();
  readonly #misses = new Map<string, number>();
  readonly #behaviour: FieldBehaviour;
  readonly #server: Server;
  #cut = false;
  readonly host: string;

  private constructor(server: Server, behaviour: FieldBehaviour) {
    this.#server = server;
    this.#behaviour = behaviour;
    const { address, port } = server.address() as AddressInfo;
    this.host = `${address}:${String(port)}`;
    server.on("request", (request: IncomingMessage, response: ServerResponse) => void this.#handle(request, response));
  }

  static async start(behaviour: FieldBehaviour = {}, address = "127.0.0.1"): Promise<FieldRegistry> {
    const server = createServer({ requestTimeout: 0 }).listen(0, address);
    await once(server, "listening");
    return new FieldRegistry(server, behaviour);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  /** Requests of one method whose path matches. */
  of(method: string, pattern = /./): FieldRequest[] {
    return this.requests.filter((one) => one.method === method && pattern.test(one.path));
  }

  /** Tags of a repository. */
  tags(repository: string): string[] {
    const prefix = `${repository}:`;
    return [...this.#manifests.keys()]
      .filter((key) => key.startsWith(prefix) && !key.includes("sha256:"))
      .map((key) => key.slice(prefix.length));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "", `http://${this.host}`);
    const { method = "", socket } = request;
    const seen = { method, path: url.pathname, query: url.search, headers: request.headers, status: 0, length: 0 };
    this.requests.push(seen);
    request.on("error", () => undefined);
    response.on("finish", () => (seen.status = response.statusCode));
    request.on("data", (data: Buffer) => (seen.length += data.length));
    if (this.#behaviour.first?.(request, response, url) === true) return void request.resume();
    try {
      await this.#answer(request, response, url);
    } catch (error) {
      if (!(error instanceof Refused)) return void socket.destroy();
      request.resume();
      response.writeHead(error.status, { "content-type": "application/json" });
      response.end(JSON.stringify({ errors: [{ code: error.code, message: "said so" }] }));
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const { method } = request;
    if (url.pathname === "/v2/") return void response.end("{}");
    const session = /^\/v2\/(.+)\/blobs\/uploads\/([0-9a-f-]*)$/.exec(url.pathname);
    if (session !== null) {
      await this.#session(request, response, url, session[1]!, session[2]!);
      return;
    }
    const blob = /^\/v2\/(.+)\/blobs\/(sha256:[0-9a-f]+)$/.exec(url.pathname);
    if (blob !== null) {
      this.#blob(method!, response, `${blob[1]!}@${blob[2]!}`);
      return;
    }
    const manifest = /^\/v2\/(.+)\/manifests\/(.+)$/.exec(url.pathname);
    if (manifest === null) throw new Refused(404, "NAME_UNKNOWN");
    await this.#manifest(request, response, manifest[1]!, manifest[2]!);
  }

  async #session(
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    repository: string,
    id: string,
  ): Promise<void> {
    const { method } = request;
    const { sessionGet, sessionDelete } = this.#behaviour;
    if (method === "POST") {
      const opened = randomUUID();
      this.uploads.set(opened, { data: [], length: 0, patches: 0, first: 0, last: 0 });
      return void response.writeHead(202, this.#location(repository, opened, "0-0")).end();
    }
    const upload = this.uploads.get(id);
    if (upload === undefined) throw new Refused(404, "BLOB_UPLOAD_UNKNOWN");
    if (method === "GET") {
      if (sessionGet !== undefined) throw new Refused(sessionGet, "UNSUPPORTED");
      return void response.writeHead(204, this.#location(repository, id, this.#range(upload))).end();
    }
    if (method === "DELETE") {
      if (sessionDelete !== undefined) throw new Refused(sessionDelete, "UNSUPPORTED");
      this.uploads.delete(id);
      return void response.writeHead(204).end();
    }
    if (method === "PATCH") {
      await this.#patch(request, upload);
      const status = this.#behaviour.patched ?? 202;
      return void response.writeHead(status, this.#location(repository, id, this.#range(upload))).end();
    }
    const rest = await this.#body(request);
    const content = Buffer.concat([...upload.data, rest]);
    const digest = url.searchParams.get("digest") ?? "";
    if (digest !== digestOf(content) && this.#behaviour.keepsLastPart !== true)
      throw new Refused(400, "DIGEST_INVALID");
    this.blobs.set(`${repository}@${digest}`, content);
    this.uploads.delete(id);
    response.writeHead(201, { location: `/v2/${repository}/blobs/${digest}`, "docker-content-digest": digest }).end();
  }

  async #patch(request: IncomingMessage, upload: Upload): Promise<void> {
    const { chunkLimit, secondPatch, keepsLastPart, needsLength } = this.#behaviour;
    const length = request.headers["content-length"];
    const range = request.headers["content-range"];
    if (needsLength === true && length === undefined) throw new Refused(411, "LENGTH_REQUIRED");
    if (chunkLimit !== undefined && range !== undefined && Number(length) > chunkLimit)
      throw new Refused(416, "REQUESTED_RANGE_NOT_SATISFIABLE");
    if (secondPatch !== undefined && upload.patches > 0)
      throw new Refused(secondPatch, secondPatch < 500 ? "UNSUPPORTED" : "UNKNOWN");
    const body = await this.#body(request);
    const start = /^(\d+)-/.exec(range ?? "")?.[1];
    if (start !== undefined && keepsLastPart !== true && Number(start) !== upload.length)
      throw new Refused(416, "BLOB_UPLOAD_INVALID");
    upload.data = keepsLastPart === true ? [body] : [...upload.data, body];
    upload.length = keepsLastPart === true ? body.length : upload.length + body.length;
    upload.patches += 1;
    if (upload.patches === 1) upload.first = body.length;
    upload.last = body.length;
  }

  #body(request: IncomingMessage): Promise<Buffer> {
    const limit = this.#behaviour.bodyLimit ?? Infinity;
    if (Number(request.headers["content-length"] ?? 0) > limit) return Promise.reject(new Refused(413, "TOO_LARGE"));
    const parts: Buffer[] = [];
    let length = 0;
    return new Promise((resolve, reject) => {
      // After a refusal the rest is still read, as servers do that want their answer to arrive.
      request.on("data", (part: Buffer) => {
        length += part.length;
        if (!this.#cut && length > (this.#behaviour.cutFirst ?? Infinity)) {
          this.#cut = true;
          reject(new Error("cut"));
        } else if (length > limit) reject(new Refused(413, "TOO_LARGE"));
        else parts.push(part);
      });
      request.on("end", () => {
        resolve(Buffer.concat(parts));
      });
      request.on("error", reject);
    });
  }

  #range(upload: Upload): string | undefined {
    const { range = "all" } = this.#behaviour;
    if (range === "none") return undefined;
    const length = range === "all" ? upload.length : upload[range];
    return `0-${String(Math.max(0, length - 1))}`;
  }

  #location(repository: string, id: string, range: string | undefined): Record<string, string> {
    const location = `/v2/${repository}/blobs/uploads/${id}`;
    return { location, "docker-upload-uuid": id, ...(range === undefined ? {} : { range }) };
  }

  #blob(method: string, response: ServerResponse, key: string): void {
    const { blobHead, blobHeadMisses = 0 } = this.#behaviour;
    const content = this.blobs.get(key);
    const missed = this.#misses.get(key) ?? 0;
    if (method === "DELETE") {
      this.blobs.delete(key);
      return void response.writeHead(202).end();
    }
    if (content === undefined) throw new Refused(404, "BLOB_UNKNOWN");
    if (method === "HEAD" && missed < blobHeadMisses) {
      this.#misses.set(key, missed + 1);
      throw new Refused(404, "BLOB_UNKNOWN");
    }
    if (method === "HEAD" && typeof blobHead === "number") return void response.writeHead(blobHead).end();
    const length = method === "HEAD" && blobHead === "no-length" ? {} : { "content-length": String(content.length) };
    response.writeHead(200, { "docker-content-digest": key.split("@")[1]!, ...length });
    response.end(method === "HEAD" ? undefined : content);
  }

  async #manifest(request: IncomingMessage, response: ServerResponse, repository: string, name: string): Promise<void> {
    if (request.method === "PUT") {
      const bytes = await this.#body(request);
      const stored = { bytes, type: request.headers["content-type"] ?? "" };
      const digest = digestOf(bytes);
      this.#manifests.set(`${repository}:${name}`, stored).set(`${repository}:${digest}`, stored);
      const headers = { location: `/v2/${repository}/manifests/${digest}`, "docker-content-digest": digest };
      return void response.writeHead(201, headers).end();
    }
    const found = this.#manifests.get(`${repository}:${name}`);
    if (found === undefined) throw new Refused(404, "MANIFEST_UNKNOWN");
    response.writeHead(200, {
      "content-type": found.type,
      "content-length": String(found.bytes.length),
      "docker-content-digest": digestOf(found.bytes),
    });
    response.end(request.method === "HEAD" ? undefined : found.bytes);
  }
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
