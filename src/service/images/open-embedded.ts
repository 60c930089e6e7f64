import { join } from "node:path";
import type { ServeConfig } from "../../config/serve-config.ts";
import type { DataDirectory } from "../store/data-directory.ts";
import { imagesDirectory } from "../store/traces.ts";
import { EmbeddedPlace, type EmbeddedPlaceOptions } from "./embedded-place.ts";
import { markPair, requirePair, type KnownDatabase } from "./pairing.ts";

/** A data directory and its open database. */
export interface StoredData {
  readonly directory: DataDirectory;
  readonly database: KnownDatabase;
}

/**
 * The images of the data directory, where they are those of its database.
 *
 * @throws DvcrError E_LAYOUT_IO, E_STORE_LOST.
 */
export async function openEmbedded(
  { capacity }: Pick<ServeConfig, "capacity">,
  { directory, database }: StoredData,
  options: Pick<EmbeddedPlaceOptions, "host" | "keepLeftovers">,
): Promise<EmbeddedPlace> {
  const path = join(directory.path, imagesDirectory);
  const { reserve } = directory;
  await requirePair(path, database);
  const limit = capacity === undefined ? {} : { limit: capacity };
  return await reserve.whenFull(async () => {
    const place = await EmbeddedPlace.open({ directory: path, reserve, ...options, ...limit });
    await markPair(path, database);
    return place;
  });
}
