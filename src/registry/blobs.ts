/** Finished blobs: looking for them, mounting, small pushes, and reading with verification and resumption. */
import { createHash } from "node:crypto";
import { cancellation } from "../retry/cancel.ts";
import { FailureError } from "../retry/failure.ts";
import { Backoff, decide } from "../retry/retry.ts";
import type { RegistryClient } from "./client.ts";
import { describe, errorFromNetwork, RegistryError, type Exchange } from "./errors.ts";
import { discard, header, type HttpResponse } from "./transport.ts";
import { pullScopes, pushScopes, UploadSession, uploadsPath } from "./upload-session.ts";

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
    { method: "HEAD", target, scopes: pullScopes(repository), ok: [200, 404] },
    signal,
  );
  await discard(response);
  return response.status === 404 ? undefined : Number(header(response.headers, "content-length"));
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
  if (response.status === 202) await UploadSession.fromAnswer(client, repository, response).cancel(signal);
  return response.status === 201;
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
      const session = await UploadSession.startOnce(client, repository, signal);
      try {
        await session.patch(0, content.byteLength, () => content, signal);
        await session.put(digest, content.byteLength, signal);
      } catch (error) {
        const abandoned = session.cancel(AbortSignal.timeout(abandonMs));
        await abandoned.catch(() => {});
        throw error;
      }
    },
    signal,
    "transfer",
  );
}

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
      scopes: pullScopes(repository),
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
