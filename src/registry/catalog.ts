/** What a registry holds, and taking images out of it. */
import type { RegistryClient } from "./client.ts";
import { describe, RegistryError } from "./errors.ts";
import { listTags, statManifest } from "./manifests.ts";
import { discard, readBytes } from "./transport.ts";

const catalogPath = "/v2/_catalog";
const pageSize = 1000;
const maxPageBytes = 4 * 1024 * 1024;
/** Tags that are looked at for whether they share a manifest. */
const maxTags = 1000;

/** Every repository, in the registry's order (distribution API, "Listing Repositories"). @throws RegistryError. */
export async function* listRepositories(client: RegistryClient, signal: AbortSignal): AsyncGenerator<string> {
  const exchange = { host: client.host, method: "GET", path: catalogPath };
  for (let last: string | undefined; ;) {
    const target = `${catalogPath}?n=${pageSize}${last === undefined ? "" : `&last=${encodeURIComponent(last)}`}`;
    const response = await client.send({ method: "GET", target, scopes: ["registry:catalog:*"], ok: [200] }, signal);
    const bytes = await client.reading(exchange, signal, () => readBytes(response, maxPageBytes, exchange));
    const page = parsePage(bytes);
    if (page === undefined)
      throw new RegistryError("E_REGISTRY_REFUSED", `${describe(exchange)}: the list of repositories is not JSON`, {});
    yield* page;
    if (page.length === 0 || response.headers["link"] === undefined) return;
    last = page.at(-1);
  }
}

/**
 * Takes a tag away, or, in registries that remove manifests by digest only, its manifest where no other tag of the
 * repository has the same. False where the registry does not allow either: deletion is off in many, and their own
 * collector is what removes images.
 */
export async function deleteTag(
  client: RegistryClient,
  repository: string,
  tag: string,
  signal: AbortSignal,
): Promise<boolean> {
  const digest = await statManifest(client, repository, tag, signal);
  if (digest === undefined || (await deleteManifest(client, repository, tag, signal))) return true;
  for (const other of await listTags(client, repository, maxTags, signal)) {
    if (other !== tag && (await statManifest(client, repository, other, signal)) === digest) return false;
  }
  return deleteManifest(client, repository, digest, signal);
}

async function deleteManifest(
  client: RegistryClient,
  repository: string,
  name: string,
  signal: AbortSignal,
): Promise<boolean> {
  const target = `/v2/${repository}/manifests/${name}`;
  const scopes = [`repository:${repository}:pull,push,delete`];
  const response = await client.send({ method: "DELETE", target, scopes, ok: [200, 202, 204, 400, 404, 405] }, signal);
  await discard(response);
  return response.status !== 400 && response.status !== 405;
}

function parsePage(bytes: Buffer): readonly string[] | undefined {
  try {
    const { repositories } = JSON.parse(bytes.toString("utf8")) as { repositories?: unknown };
    return Array.isArray(repositories) ? repositories.filter((one) => typeof one === "string") : [];
  } catch {
    return undefined;
  }
}
