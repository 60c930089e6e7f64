/**
 * The embedded store and the database next to it belong together: opened otherwise, each would take the other's content
 * for lost.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { readTags, replaceFile } from "../../destination/oci-index.ts";
import { layoutError } from "../../destination/oci-layer.ts";
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { ImageObject } from "../model/image.ts";
import { imageNameOf } from "../model/names.ts";
import type { ResourceStore } from "../store/store.ts";

/** Next to the images: the identity of the database that knows them. */
const markerFile = "resources.id";

/** A database that can be told from another. */
export interface KnownDatabase extends Pick<ResourceStore, "list"> {
  readonly identity: string;
}

/** @throws DvcrError E_STORE_LOST where the images of `directory` are not those of the database; E_LAYOUT_IO. */
export async function requirePair(directory: string, database: KnownDatabase): Promise<void> {
  const marker = await readMarker(directory);
  if (marker !== undefined && marker !== database.identity)
    throw new DvcrError(
      "E_STORE_LOST",
      `the images in "${directory}" were stored by another database (${marker}) than the one ` +
        `next to them (${database.identity})`,
    );
  const ready = await readyImages(database);
  const tags = await readTags(directory).catch((error: unknown) => {
    throw layoutError(directory, error);
  });
  const isThere = (image: ImageObject): boolean => {
    const { repository, tag } = imageNameOf(image);
    return tags.has(`${repository}:${tag}`);
  };
  if (ready.length === 0 || ready.some(isThere)) return;
  throw new DvcrError(
    "E_STORE_LOST",
    `of ${ready.length} Ready image${ready.length === 1 ? "" : "s"}, "${directory}" holds none: is its disk mounted?`,
  );
}

/** From now on these images are known to be the database's. @throws DvcrError E_LAYOUT_IO. */
export async function markPair(directory: string, { identity }: KnownDatabase): Promise<void> {
  try {
    if ((await readMarker(directory)) !== identity)
      await replaceFile(join(directory, markerFile), Buffer.from(`${identity}\n`));
  } catch (error) {
    throw layoutError(directory, error);
  }
}

export async function readyImages(database: KnownDatabase): Promise<ImageObject[]> {
  const lists = await Promise.all(
    (["clustervirtualimages", "virtualimages"] as const).map((resource) => database.list<ImageObject>(resource)),
  );
  return lists.flatMap(({ items }) => items).filter(({ status }) => status?.phase === "Ready");
}

async function readMarker(directory: string): Promise<string | undefined> {
  try {
    return (await readFile(join(directory, markerFile), "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw layoutError(directory, error);
  }
}
