/** Finished blobs: looking for them, mounting, small pushes, and reading with verification and resumption. */
import { createHash } from "node:crypto";
import { cancellation } from "../retry/cancel.ts";
import { FailureError } from "../retry/failure.ts";
import { Backoff, decide } from "../retry/retry.ts";
import type { RegistryClient } from "./client.ts";
import { describe, errorFromNetwork, RegistryError, type Exchange } from "./errors.ts";
import { discard, header, type HttpResponse } from "./transport.ts";
import { pullScopes, pushScopes, BlobUploadSession, uploadsPath } from "./blob-upload-session.ts";

function blobPath(repository: string, digest: string): string {
  return `/v2/${repository}/blobs/${digest}`;
}

/** Size in bytes of a blob that the repository holds, or nothing; tried again by the table. */
export async function statBlob(
  client: RegistryClient,
  repository: string,
  digest: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const target = blobPath(repository, digest);
  const response = await client.send(
    { method: "HEAD", target, scopes: client.scopes(repository), ok: [200, 404] },
    signal,
  );
  await discard(response);
  return response.status === 404 ? undefined : Number(header(response.headers, "content-length"));
}

/**
 * Looks for a blob that was just committed: a registry's yes proves nothing where it kept a part of what it was sent.
 *
 * @returns what should stand in the log, where the registry does not tell
 * @throws RegistryError E_REGISTRY_INCOMPLETE where it has none, or one of another size, which is then removed if it
 *   may be
 */
export async function confirmBlob(
  client: RegistryClient,
  repository: string,
  { digest, size }: BlobDescriptor,
  signal: AbortSignal,
): Promise<string | undefined> {
  const target = blobPath(repository, digest);
  const spec = { method: "HEAD", target, scopes: client.scopes(repository), ok: [200, 401, 403, 404, 405] } as const;
  let response = await client.send(spec, signal);
  await discard(response);
  for (const pause of confirmPauses) {
    if (response.status !== 404) break;
    await client.clock.sleep(pause, signal);
    response = await client.send(spec, signal);
    await discard(response);
  }
  const { host } = client;
  const subject = describe({ host, method: "HEAD", path: target });
  const length = header(response.headers, "content-length");
  if (response.status === 200 && Number(length) === size) return undefined;
  if (response.status !== 404 && (response.status !== 200 || !/^\d+$/.test(length ?? ""))) {
    const why = response.status === 200 ? "it does not tell" : `HTTP ${String(response.status)}`;
    return (
      `the size of what registry ${host} has stored could not be checked (${why}); its digest is ` +
      "what the registry was asked to check"
    );
  }
  const holds = response.status === 404 ? "holds nothing" : `holds ${length ?? ""} bytes`;
  if (response.status === 200) await removeBlob(client, repository, digest);
  throw new RegistryError(
    "E_REGISTRY_INCOMPLETE",
    `${subject}: it accepted ${String(size)} bytes and ${holds} of them`,
    {},
  );
}

/** Removes a blob, best effort: who may push may seldom delete. Returns whether it did. */
export async function removeBlob(client: RegistryClient, repository: string, digest: string): Promise<boolean> {
  const spec = { method: "DELETE", target: blobPath(repository, digest), ok: [200, 202, 204, 404] } as const;
  const signal = AbortSignal.timeout(abandonMs);
  const response = client.sendOnce({ ...spec, scopes: [`repository:${repository}:delete,pull,push`] }, signal);
  return response.then(discard).then(
    () => true,
    () => false,
  );
}

/** Asks for `digest` of repository `from` to be had in `repository` too. False where the registry would rather not. */
export async function mountBlob(
  client: RegistryClient,
  repository: string,
  digest: string,
  from: string,
  signal: AbortSignal,
): Promise<boolean> {
  const target = `${uploadsPath(repository)}?${new URLSearchParams({ mount: digest, from }).toString()}`;
  const scopes = [...pushScopes(repository), ...pullScopes(from)];
  const headers = { "content-length": "0" };
  const response = await client.send({ method: "POST", target, scopes, headers, ok: [201, 202, 401, 403] }, signal);
  await discard(response);
  // Instead of mounting it may have opened a session.
  if (response.status === 202) await abandon(BlobUploadSession.fromAnswer(client, repository, response));
  return response.status === 201;
}

/** Removes a session that was not wanted, best effort: the registry's purge does it otherwise. */
async function abandon(session: BlobUploadSession): Promise<void> {
  await session.cancel(AbortSignal.timeout(abandonMs)).catch(() => {});
}

/** Puts a small blob where the repository does not hold it; after a fault all of it is sent again. */
export async function pushBlob(
  client: RegistryClient,
  repository: string,
  digest: string,
  content: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  if ((await statBlob(client, repository, digest, signal)) === content.byteLength) return;
  await client.retrying(
    async () => {
      const session = await BlobUploadSession.startOnce(client, repository, signal);
      try {
        await session.whole(content, signal);
        await session.put(digest, content.byteLength, signal);
      } catch (error) {
        await abandon(session);
        throw error;
      }
    },
    signal,
    "transfer",
  );
}

/** Between the tries to find a blob that was just committed: stores behind registries take a moment. */
const confirmPauses = [100, 200, 400, 800, 1600];
/** What the clean-up of a small push may take before the push is tried again. */
const abandonMs = 5000;

export interface BlobDescriptor {
  /** "sha256:…". */
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

/**
 * The blob's bytes from first to last. A cut is resumed with Range; size and digest are checked at the end, so what
 * was yielded must not be made permanent before the iteration has ended without an error.
 *
 * @throws RegistryError; E_REGISTRY_REFUSED where digest or size are wrong.
 */
export async function* readBlob(
  client: RegistryClient,
  repository: string,
  blob: BlobDescriptor,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  for await (const chunk of streamBlob(client, repository, blob, signal)) {
    hash.update(chunk);
    yield chunk;
  }
  if (`sha256:${hash.digest("hex")}` !== blob.digest) {
    throw mismatch(
      { host: client.host, method: "GET", path: blobPath(repository, blob.digest) },
      "does not match its digest",
    );
  }
}

/** As readBlob(), for a caller that takes the digest itself: only the size is checked here. */
export async function* streamBlob(
  client: RegistryClient,
  repository: string,
  blob: BlobDescriptor,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const exchange = { host: client.host, method: "GET", path: blobPath(repository, blob.digest) };
  const backoff = new Backoff(client.retry, client.clock);
  let position = 0;
  while (position < blob.size) {
    try {
      for await (const chunk of openBlob(client, repository, blob.digest, position, signal)) {
        position += chunk.byteLength;
        if (position > blob.size) throw mismatch(exchange, `is longer than ${String(blob.size)} bytes`);
        backoff.reset();
        yield chunk;
      }
      if (position < blob.size)
        throw new RegistryError("E_REGISTRY_UNAVAILABLE", `${describe(exchange)}: cut short`, { code: "ECONNRESET" });
    } catch (error) {
      if (signal.aborted) throw cancellation(signal);
      const failed = errorFromNetwork(exchange, error, signal);
      // A 404 is about the blob here, not about a session.
      if (!(failed instanceof FailureError) || decide(failed.failure, "request", "registry") === "give-up")
        throw failed;
      const { retryAfterMs } = failed.failure;
      const onWait = (delayMs: number) => client.onRetry?.({ error: failed, delayMs });
      if (!(await backoff.wait(signal, { retryAfterMs, onWait }))) throw failed;
    }
  }
}

async function* openBlob(
  client: RegistryClient,
  repository: string,
  digest: string,
  offset: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const response = await client.sendOnce(
    {
      method: "GET",
      target: blobPath(repository, digest),
      scopes: client.scopes(repository),
      ok: [200, 206],
      ...(offset === 0 ? {} : { headers: { range: `bytes=${String(offset)}-` } }),
    },
    signal,
  );
  let skip = offset - startOf(response);
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    if (skip >= chunk.byteLength) skip -= chunk.byteLength;
    else {
      yield skip <= 0 ? chunk : chunk.subarray(skip);
      skip = 0;
    }
  }
}

/** Where an answer's body begins in the blob: a server that knows no Range sends all of it again. */
function startOf(response: HttpResponse): number {
  const start = /^bytes (\d+)-/.exec(header(response.headers, "content-range") ?? "")?.[1];
  return response.status === 206 && start !== undefined ? Number(start) : 0;
}

function mismatch(exchange: Exchange, what: string): RegistryError {
  return new RegistryError("E_REGISTRY_REFUSED", `${describe(exchange)}: the blob ${what}`, {});
}
