/** Images in the data directory: an OCI image layout whose tags are `REPOSITORY:TAG`. */
import { mkdir, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Destination } from "../../destination/destination.ts";
import { withFileLock } from "../../destination/file-lock.ts";
import { beginIndex, readTag, readTags, removeTag, writeTag } from "../../destination/oci-index.ts";
import { layoutError, syncDirectory } from "../../destination/oci-layer.ts";
import { DvcrError } from "../../errors/dvcr-error.ts";
import { freeBytes, type SpaceReserve } from "../store/space-reserve.ts";
import { BlobStore } from "./blob-store.ts";
import { EmbeddedDestination, type Room } from "./embedded-destination.ts";
import type { ImagePlace, PlaceUsage } from "./image-place.ts";
import type { ImageName } from "../model/names.ts";

export interface EmbeddedPlaceOptions {
  /** `<data directory>/images`. */
  readonly directory: string;
  /** Under which this server is reached, for urlOf(); asked at each use, since a port may only be known later. */
  readonly host: string | (() => string);
  /** Bytes; missing: as much as the disk has. */
  readonly limit?: number;
  /** What a crash left is not removed. */
  readonly keepLeftovers?: boolean;
  /** Given up where a full disk has no room for a new index; images leave as much of the disk alone. */
  readonly reserve?: SpaceReserve;
}

export class EmbeddedPlace implements ImagePlace {
  readonly blobs: BlobStore;
  readonly #host: () => string;
  readonly #reserve: SpaceReserve | undefined;
  #limit: number;
  #incoming = 0;

  private constructor(blobs: BlobStore, { host, limit, reserve }: EmbeddedPlaceOptions) {
    this.blobs = blobs;
    this.#reserve = reserve;
    this.#host = typeof host === "string" ? () => host : host;
    this.#limit = limit ?? Infinity;
  }

  /**
   * Opens or creates the store and removes what imports left that a crash has ended: parts of files, and blobs that got
   * no tag. The caller holds the data directory.
   *
   * @throws DvcrError E_LAYOUT_IO, E_STORE_LOST where there are images and no index of them.
   */
  static async open(options: EmbeddedPlaceOptions): Promise<EmbeddedPlace> {
    const { directory } = options;
    try {
      const folder = join(directory, "blobs/sha256");
      await mkdir(folder, { recursive: true });
      const blobs = new BlobStore(directory);
      if (options.keepLeftovers !== true) for (const path of [directory, folder]) await removeLeftovers(path);
      await blobs.load();
      if (blobs.digests.size > 0 && !(await blobs.hasIndex()))
        throw new DvcrError("E_STORE_LOST", `"${directory}" holds images and no index.json, which says what they are`);
      await beginIndex(directory);
      if (options.keepLeftovers !== true) await blobs.removeUnneeded();
      return new EmbeddedPlace(blobs, options);
    } catch (error) {
      throw layoutError(directory, error);
    }
  }

  urlOf({ repository, tag }: ImageName): string {
    return `${this.#host()}/${repository}:${tag}`;
  }

  destination(name: ImageName): Destination {
    const room: Room = {
      take: (bytes) => {
        if (this.blobs.bytes + this.#incoming + bytes > this.#limit) {
          throw new DvcrError(
            "E_PLACE_FULL",
            `the store for images may hold ${this.#limit} bytes and holds ${this.blobs.bytes + this.#incoming}`,
          );
        }
        if (this.#freeOnDisk() < bytes)
          throw new DvcrError("E_PLACE_FULL", "the disk under the store for images is full");
        this.#incoming += bytes;
      },
      give: (bytes) => (this.#incoming -= bytes),
    };
    return new EmbeddedDestination(this.blobs, tagOf(name), room);
  }

  copy(from: ImageName, to: ImageName, signal: AbortSignal): Promise<void> {
    return this.#changeIndex(signal, async (directory) => {
      const entry = await readTag(directory, tagOf(from));
      if (entry === undefined || !(await this.blobs.isWhole(entry.digest))) {
        throw new DvcrError("E_SOURCE_NOT_FOUND", `the image ${from.repository}:${from.tag} is not in the store`);
      }
      await writeTag(directory, tagOf(to), entry);
      await syncDirectory(directory);
    });
  }

  async remove(name: ImageName, signal: AbortSignal): Promise<void> {
    await this.#changeIndex(signal, async (directory) => {
      const entry = await readTag(directory, tagOf(name));
      if (entry === undefined) return;
      await removeTag(directory, tagOf(name));
      await syncDirectory(directory);
      await this.blobs.removeUnneeded(await this.blobs.contentsOf(entry.digest));
    });
  }

  async has(name: ImageName): Promise<boolean> {
    try {
      const entry = await readTag(this.blobs.directory, tagOf(name));
      return entry !== undefined && (await this.blobs.isWhole(entry.digest));
    } catch (error) {
      throw layoutError(this.blobs.directory, error);
    }
  }

  async *list(): AsyncGenerator<ImageName> {
    for (const tag of (await readTags(this.blobs.directory)).keys()) {
      const colon = tag.lastIndexOf(":");
      if (colon > 0) yield { repository: tag.slice(0, colon), tag: tag.slice(colon + 1) };
    }
  }

  usage(): Promise<PlaceUsage> {
    const used = this.blobs.bytes + this.#incoming;
    const free = Math.max(0, Math.min(this.#limit - used, this.#freeOnDisk()));
    return Promise.resolve({ capacity: Math.min(this.#limit, used + free), used, free });
  }

  /** Bytes that may be stored from now on; undefined: as much as the disk has. What is there stays. */
  setLimit(limit: number | undefined): void {
    this.#limit = limit ?? Infinity;
  }

  async close(): Promise<void> {
    await this.blobs.exclusively(() => Promise.resolve());
  }

  /** Without the last of it, which is the database's and the index's: they need it to let images be deleted. */
  #freeOnDisk(): number {
    return Math.max(0, freeBytes(this.blobs.directory) - (this.#reserve?.bytes ?? 0));
  }

  #changeIndex(signal: AbortSignal, change: (directory: string) => Promise<void>): Promise<void> {
    const { directory } = this.blobs;
    const changing = () => withFileLock(join(directory, "index.json.lock"), signal, () => change(directory));
    return this.blobs.exclusively(async () => {
      try {
        await (this.#reserve?.whenFull(changing) ?? changing());
      } catch (error) {
        throw layoutError(directory, error);
      }
    });
  }
}

function tagOf({ repository, tag }: ImageName): string {
  return `${repository}:${tag}`;
}

/** Parts of files and locks of a process that was killed. */
async function removeLeftovers(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (/\.(?:part|tmp|lock|stale)$/.test(name)) await unlink(join(directory, name));
  }
}
