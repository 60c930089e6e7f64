/** One upload session of a registry: the requests of the distribution specification's chunked push. */
import type { RegistryClient } from "./client.ts";
import { discard, header, type BodyFactory, type Headers, type HttpResponse } from "./transport.ts";

/**
 * Bytes a session holds; `unsure` stands for `0-0`, which registries say of one byte and of none, `untold` for a
 * registry that does not answer the question.
 */
export type SessionPosition = number | "unsure" | "gone" | "untold";

/** Whatever is neither success nor a reason to ask again says that the registry does not tell. */
const answersToPosition = [200, 202, 204, 400, 403, 404, 405, 406, 409, 410, 416, 501];

/** What may pass until a registry has put a blob together, beside the time below. */
const commitBaseMs = 120_000;
/** A registry may read the whole blob again before it answers. */
const commitBytesPerMs = 20_000;

/** What a registry may ask for at least: so much is held in memory. */
const mostLeastPatch = 64 * 1024 * 1024;

export class BlobUploadSession {
  readonly #client: RegistryClient;
  readonly #scopes: readonly string[];
  /** Every answer's Location replaces the one before: it carries the registry's signed state. */
  #location: URL;
  /**
   * Least bytes of a PATCH that is not the last (distribution specification, "Pushing a blob in chunks"); 0 where the
   * registry names none.
   */
  readonly leastPatch: number;

  private constructor(client: RegistryClient, scopes: readonly string[], location: URL, leastPatch: number) {
    this.leastPatch = leastPatch;
    this.#client = client;
    this.#scopes = scopes;
    this.#location = location;
  }

  /** Path of the session, for logs. */
  get path(): string {
    return this.#location.pathname;
  }

  /** Opens a session, one try. @throws RegistryError. */
  static async startOnce(client: RegistryClient, repository: string, signal: AbortSignal): Promise<BlobUploadSession> {
    const scopes = pushScopes(repository);
    const target = uploadsPath(repository);
    const response = await client.sendOnce(
      { method: "POST", target, scopes, headers: { "content-length": "0" }, ok: [202] },
      signal,
    );
    await discard(response);
    return BlobUploadSession.fromAnswer(client, repository, response);
  }

  /** The session that a 202 to a POST speaks of. */
  static fromAnswer(client: RegistryClient, repository: string, response: HttpResponse): BlobUploadSession {
    const least = header(response.headers, "oci-chunk-min-length") ?? "";
    const leastPatch = /^\d{1,12}$/.test(least) ? Math.min(Number(least), mostLeastPatch) : 0;
    return new BlobUploadSession(
      client,
      pushScopes(repository),
      client.locationOf(response, { method: "POST", path: uploadsPath(repository) }),
      leastPatch,
    );
  }

  /**
   * Sends a body of any length without saying where its bytes belong, one try: the one form that every registry takes.
   * Returns false where the answer's Range is not `end`, which the caller returns when the body was sent.
   */
  async stream(body: BodyFactory, end: () => number, signal: AbortSignal): Promise<boolean> {
    const headers = { "content-type": "application/octet-stream" };
    return this.#patch(headers, body, end, signal);
  }

  /**
   * Sends `length` bytes that belong at `offset`, one try (distribution specification, "Pushing a blob in chunks").
   * Returns as stream(). @throws RegistryError, by which decide() knows to ask position().
   */
  async chunk(offset: number, length: number, body: BodyFactory, signal: AbortSignal): Promise<boolean> {
    const headers = {
      "content-type": "application/octet-stream",
      "content-length": String(length),
      "content-range": `${String(offset)}-${String(offset + length - 1)}`,
    };
    return this.#patch(headers, body, () => offset + length, signal);
  }

  /** Sends all of a blob in one PATCH of known length, one try. */
  async whole(content: Uint8Array, signal: AbortSignal): Promise<void> {
    const headers = { "content-type": "application/octet-stream", "content-length": String(content.byteLength) };
    await this.#patch(
      headers,
      () => content,
      () => content.byteLength,
      signal,
    );
  }

  /**
   * How much the registry holds, one try. Also renews the Location. @throws RegistryError where asking again may help.
   */
  position(signal: AbortSignal): Promise<SessionPosition> {
    return this.#position(signal, true);
  }

  /** As position(), while a PATCH is under way: the Location is left to its answer. */
  glance(signal: AbortSignal): Promise<SessionPosition> {
    return this.#position(signal, false);
  }

  /** Makes the blob permanent, one try. `size` only stretches the time allowed. */
  async put(digest: string, size: number, signal: AbortSignal): Promise<void> {
    const target = new URL(this.#location);
    target.searchParams.set("digest", digest);
    const answerTimeoutMs = commitBaseMs + size / commitBytesPerMs;
    const headers = { "content-length": "0" };
    const sent = this.#client.sendOnce(
      { method: "PUT", target, scopes: this.#scopes, headers, ok: [201, 204], answerTimeoutMs },
      signal,
    );
    await discard(await sent);
  }

  /** Drops the session and its bytes: with a fresh Location, since registries refuse an old one. */
  async cancel(signal: AbortSignal): Promise<void> {
    await this.#client.retrying(async () => {
      // Whatever it says: registries that tell nothing of a session still remove it.
      await this.position(signal);
      await this.#send({ method: "DELETE", target: this.#location, ok: [200, 202, 204, 404] }, signal);
    }, signal);
  }

  async #patch(headers: Headers, body: BodyFactory, end: () => number, signal: AbortSignal): Promise<boolean> {
    const response = await this.#send(
      { method: "PATCH", target: this.#location, headers, body, ok: [200, 201, 202, 204] },
      signal,
    );
    // Registries say of themselves what they like here: all bytes, the first part's, the last part's. The digest
    // decides.
    const position = parseRange(header(response.headers, "range"));
    return position === undefined || position === end() || (position === "unsure" && end() === 1);
  }

  async #position(signal: AbortSignal, renew: boolean): Promise<SessionPosition> {
    const spec = { method: "GET", target: this.#location, ok: answersToPosition } as const;
    const response = await this.#send(spec, signal, renew);
    if (response.status === 404) return "gone";
    if (response.status >= 300) return "untold";
    return parseRange(header(response.headers, "range")) ?? "unsure";
  }

  async #send(
    spec: Omit<Parameters<RegistryClient["sendOnce"]>[0], "scopes">,
    signal: AbortSignal,
    renew = true,
  ): Promise<HttpResponse> {
    const response = await this.#client.sendOnce({ ...spec, scopes: this.#scopes }, signal);
    await discard(response);
    if (renew && header(response.headers, "location") !== undefined && response.status < 300) {
      this.#location = this.#client.locationOf(response, { method: spec.method, path: this.path });
    }
    return response;
  }
}

export function pullScopes(repository: string): readonly string[] {
  return [`repository:${repository}:pull`];
}

export function pushScopes(repository: string): readonly string[] {
  return [`repository:${repository}:pull,push`];
}

export function uploadsPath(repository: string): string {
  return `/v2/${repository}/blobs/uploads/`;
}

function parseRange(range: string | undefined): number | "unsure" | undefined {
  const last = /^(?:bytes=)?0-(\d+)$/.exec(range ?? "")?.[1];
  if (last === undefined) return undefined;
  return last === "0" ? "unsure" : Number(last) + 1;
}
