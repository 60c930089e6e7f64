/** Makes a database and a store for images that do not belong together belong together again. */
import { existsSync } from "node:fs";
import { rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { readTags, writeTag } from "../../destination/oci-index.ts";
import { blobPath } from "../../destination/oci-layer.ts";
import { mediaTypes } from "../../layer/image-config.ts";
import { makeNamespace } from "../api/namespaces.ts";
import { takeInventory, type StaleImage } from "../gc/inventory.ts";
import type { ImagePlace } from "../images/image-place.ts";
import { readyImages } from "../images/pairing.ts";
import { storedImage } from "../images/stored-image.ts";
import type { ImageObject } from "../model/image.ts";
import { imageNameOf } from "../model/names.ts";
import { databaseFile, type SqliteStore } from "../store/sqlite-store.ts";
import { lost, resourceFor, resourceOf } from "./resources.ts";

export interface RestoreReport {
  /** Made again. */
  readonly restored: readonly StaleImage[];
  /** Not made: another resource has the name, or the image tells nothing of itself. */
  readonly skipped: readonly { readonly image: StaleImage; readonly why: string }[];
  /** Resources that have become ImageLost. */
  readonly lost: number;
}

export interface RestoreDeps {
  readonly store: SqliteStore;
  readonly place: ImagePlace;
  readonly signal: AbortSignal;
  readonly now: string;
  /** Changes nothing. */
  readonly dryRun: boolean;
}

/**
 * Moves a database that cannot be opened, or a log without one, out of the way; its new name. Never deletes anything.
 */
export async function putAside(dataDir: string): Promise<string> {
  const path = join(dataDir, databaseFile);
  for (let number = 1; ; number++) {
    const aside = `${path}.lost-${number}`;
    if (existsSync(aside) || existsSync(`${aside}-wal`)) continue;
    for (const end of ["", "-wal"]) if (existsSync(path + end)) await rename(path + end, aside + end);
    return aside;
  }
}

/** Tags whose manifests are there, from the resources that are Ready with them: for a store that has lost its index. */
export async function indexAgain(directory: string, store: SqliteStore): Promise<number> {
  let count = 0;
  const tags = existsSync(join(directory, "index.json")) ? await readTags(directory) : new Map<string, unknown>();
  for (const object of await readyImages(store)) {
    const { repository, tag } = imageNameOf(object);
    const digest = object.status?.digest;
    if (digest === undefined || tags.has(`${repository}:${tag}`)) continue;
    const manifest = await stat(blobPath(directory, digest)).catch(() => undefined);
    if (manifest === undefined) continue;
    await writeTag(directory, `${repository}:${tag}`, {
      mediaType: mediaTypes.ociManifest,
      digest,
      size: manifest.size,
    });
    count += 1;
  }
  return count;
}

/** Makes the resources of images that no resource stands for, and tells those whose images are gone that they are. */
export async function restore(deps: RestoreDeps): Promise<RestoreReport> {
  const { store, place, signal, dryRun } = deps;
  const { unknown } = await takeInventory(place, store, signal);
  const restored: StaleImage[] = [];
  const skipped: { image: StaleImage; why: string }[] = [];
  for (const image of unknown) {
    const why = await restoreOne(image, deps);
    if (why === undefined) restored.push(image);
    else skipped.push({ image, why });
  }
  let missing = 0;
  for (const object of await readyImages(store)) {
    if (await place.has(imageNameOf(object), signal)) continue;
    missing += 1;
    if (!dryRun) await store.update<ImageObject>(resourceOf(object), lost(object, deps.now));
  }
  return { restored, skipped, lost: missing };
}

/** Why it was not made; undefined where it was, or would be. */
async function restoreOne(
  image: StaleImage,
  { store, place, signal, now, dryRun }: RestoreDeps,
): Promise<string | undefined> {
  const stored = (await place.has(image.image, signal)) ? await storedImage(place, image.image, signal) : undefined;
  if (stored === undefined) return "the image is not whole";
  const key = { resource: resourceOf(image), namespace: image.namespace, name: image.name };
  if ((await store.get(key)) !== undefined) return "a newer resource has its name";
  if (dryRun) return undefined;
  if (image.namespace !== "") await makeNamespace(store, image.namespace);
  await store.restore(resourceOf(image), resourceFor(image, stored, place.urlOf(image.image), now), image.image.tag);
  return undefined;
}
