/** One upload session of a registry: the requests of the distribution specification's chunked push. */
import type { RegistryClient } from "./client.ts";
import { describe, RegistryError } from "./errors.ts";
import { discard, header, type BodyFactory, type HttpResponse } from "./transport.ts";

/** Bytes a session holds; `unsure` stands for `0-0`, which registries say of one byte and of none. */
export type SessionPosition = number | "unsure" | "gone";

/** What may pass until a registry has put a blob together, beside the time below. */
const commitBaseMs = 120_000;
/** A registry may read the whole blob again before it answers. */
const commitBytesPerMs = 20_000;

/** What a registry may ask for at least: so much is held in memory. */
const mostLeastPatch = 64 * 1024 * 1024;

export class UploadSession {
  readonly #client: RegistryClient;
  readonly #scopes: readonly string[];
  /** Every answer's Location replaces the one before: it carries the registry's signed state. */
  #location: URL;
  readonly #firstLocation: URL;
  /** Least bytes of a PATCH that is not the last (distribution specification, "Pushing a blob in chunks"); 0 where the registry names none. */
  readonly leastPatch: number;

  private constructor(client: RegistryClient, scopes: readonly string[], location: URL, leastPatch: number) {
    this.leastPatch = leastPatch;
    this.#client = client;
    this.#scopes = scopes;
    this.#location = this.#firstLocation = location;
  }

  /** Path of the session, for logs. */
  get path(): string {
    return this.#location.pathname;
  }

  /** Opens a session, one try. @throws RegistryError. */
  static async startOnce(client: RegistryClient, repository: string, signal: AbortSignal): Promise<UploadSession> {
    const scopes = pushScopes(repository);
    const target = uploadsPath(repository);
    const response = await client.sendOnce(
      { method: "POST", target, scopes, headers: { "content-length": "0" }, ok: [202] },
      signal,
    );
    await discard(response);
    return UploadSession.fromAnswer(client, repository, response);
  }

  /** The session that a 202 to a POST speaks of. */
  static fromAnswer(client: RegistryClient, repository: string, response: HttpResponse): UploadSession {
    const least = header(response.headers, "oci-chunk-min-length") ?? "";
    const leastPatch = /^\d{1,12}$/.test(least) ? Math.min(Number(least), mostLeastPatch) : 0;
    return new UploadSession(
      client,
      pushScopes(repository),
      client.locationOf(response, { method: "POST", path: uploadsPath(repository) }),
      leastPatch,
    );
  }

  /** Sends `length` bytes for `offset`, one try. @throws RegistryError, by which decide() knows to ask position(). */
  async patch(offset: number, length: number, body: BodyFactory, signal: AbortSignal): Promise<void> {
    const headers = {
      "content-type": "application/octet-stream",
      "content-length": String(length),
      "content-range": `${String(offset)}-${String(offset + length - 1)}`,
    };
    const response = await this.#send(
      { method: "PATCH", target: this.#location, headers, body, ok: [201, 202, 204] },
      signal,
    );
    const position = parseRange(header(response.headers, "range"));
    const expected = offset + length;
    const known = position === undefined || position === expected || (position === "unsure" && expected === 1);
    if (!known) {
      const subject = describe({ host: this.#client.host, method: "PATCH", path: this.path });
      throw new RegistryError(
        "E_REGISTRY_REFUSED",
        `${subject}: it holds ${String(position)} bytes, not ${String(expected)}`,
        { code: "RANGE_INVALID" },
      );
    }
  }

  /** How much the registry holds, one try. Also renews the Location. */
  async position(signal: AbortSignal): Promise<SessionPosition> {
    const response = await this.#send({ method: "GET", target: this.#location, ok: [200, 202, 204, 404] }, signal);
    if (response.status === 404) return "gone";
    return parseRange(header(response.headers, "range")) ?? 0;
  }

  /**
   * True when the session will outlive a PATCH that is cut, one try. To be asked after the first PATCH: a registry that
   * takes the Location from before it, whose state is out of date, goes by what it has on disk. distribution 2.8 goes by
   * the Location's state instead and answers 404, as it does, for ever, once a PATCH was cut.
   */
  async survivesCut(signal: AbortSignal): Promise<boolean> {
    const spec = {
      method: "GET",
      target: this.#firstLocation,
      scopes: this.#scopes,
      ok: [200, 202, 204, 400, 404, 416],
    } as const;
    const response = await this.#client.sendOnce(spec, signal);
    await discard(response);
    return response.status < 300;
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
      if ((await this.position(signal)) === "gone") return;
      await this.#send({ method: "DELETE", target: this.#location, ok: [200, 202, 204, 404] }, signal);
    }, signal);
  }

  async #send(
    spec: Omit<Parameters<RegistryClient["sendOnce"]>[0], "scopes">,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const response = await this.#client.sendOnce({ ...spec, scopes: this.#scopes }, signal);
    await discard(response);
    if (header(response.headers, "location") !== undefined && response.status < 300) {
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
