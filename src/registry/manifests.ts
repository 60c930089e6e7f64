/** Manifests by tag or digest. */
import { sha256Digest, mediaTypes } from "../layer/image-config.ts";
import type { RegistryClient } from "./client.ts";
import { describe, RegistryError } from "./errors.ts";
import { discard, header, readBytes } from "./transport.ts";
import { pushScopes } from "./blob-upload-session.ts";

export interface StoredManifest {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  /** "sha256:…" of `bytes`. */
  readonly digest: string;
}

/** What registries themselves accept at most. */
const maxManifestBytes = 4 * 1024 * 1024;
const accept = [mediaTypes.ociManifest, mediaTypes.dockerManifest, mediaTypes.ociIndex, mediaTypes.dockerList].join(
  ", ",
);

function manifestPath(repository: string, name: string): string {
  return `/v2/${repository}/manifests/${name}`;
}

/** Digest of what stands at a tag, or nothing. */
export async function statManifest(
  client: RegistryClient,
  repository: string,
  name: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const target = manifestPath(repository, name);
  const response = await client.send(
    { method: "HEAD", target, scopes: client.scopes(repository), headers: { accept }, ok: [200, 404] },
    signal,
  );
  await discard(response);
  return response.status === 404 ? undefined : header(response.headers, "docker-content-digest");
}

/**
 * The manifest, or nothing where there is none. @throws RegistryError; E_REGISTRY_REFUSED where a digest does not
 * match.
 */
export async function getManifest(
  client: RegistryClient,
  repository: string,
  name: string,
  signal: AbortSignal,
): Promise<StoredManifest | undefined> {
  const target = manifestPath(repository, name);
  const exchange = { host: client.host, method: "GET", path: target };
  const spec = {
    method: "GET",
    target,
    scopes: client.scopes(repository),
    headers: { accept },
    ok: [200, 404],
  } as const;
  return client.retrying(async () => {
    const response = await client.sendOnce(spec, signal);
    if (response.status === 404) {
      await discard(response);
      return undefined;
    }
    const bytes = await client.reading(exchange, signal, () => readBytes(response, maxManifestBytes, exchange));
    const digest = sha256Digest(bytes);
    if (name.startsWith("sha256:") && name !== digest) {
      throw new RegistryError(
        "E_REGISTRY_REFUSED",
        `${describe(exchange)}: the manifest does not match its digest`,
        {},
      );
    }
    return { bytes, digest, mediaType: header(response.headers, "content-type") ?? "" };
  }, signal);
}

/** Puts a manifest at `name`. Everything it points to is there already. */
export async function putManifest(
  client: RegistryClient,
  repository: string,
  name: string,
  manifest: StoredManifest,
  signal: AbortSignal,
): Promise<void> {
  const target = manifestPath(repository, name);
  const headers = { "content-type": manifest.mediaType };
  const body = () => manifest.bytes;
  const response = await client.send(
    { method: "PUT", target, scopes: pushScopes(repository), headers, body, ok: [200, 201, 202] },
    signal,
  );
  await discard(response);
  const stored = header(response.headers, "docker-content-digest");
  if (stored !== undefined && stored !== manifest.digest) {
    const subject = describe({ host: client.host, method: "PUT", path: target });
    throw new RegistryError("E_REGISTRY_REFUSED", `${subject}: it stored ${stored} instead of ${manifest.digest}`, {});
  }
}

/** Up to `limit` tags of a repository, in the registry's order; none where there is no repository. */
export async function listTags(
  client: RegistryClient,
  repository: string,
  limit: number,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const target = `/v2/${repository}/tags/list?n=${String(limit)}`;
  const exchange = { host: client.host, method: "GET", path: `/v2/${repository}/tags/list` };
  const response = await client.send(
    { method: "GET", target, scopes: client.scopes(repository), ok: [200, 404] },
    signal,
  );
  const text = await client.reading(exchange, signal, () => readBytes(response, maxManifestBytes, exchange));
  if (response.status === 404) return [];
  try {
    const { tags } = JSON.parse(text.toString("utf8")) as { tags?: unknown };
    return Array.isArray(tags) ? tags.filter((tag) => typeof tag === "string").slice(0, limit) : [];
  } catch {
    throw new RegistryError("E_REGISTRY_REFUSED", `${describe(exchange)}: the list of tags is not JSON`, {});
  }
}
