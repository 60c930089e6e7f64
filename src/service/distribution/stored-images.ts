/** The embedded store as a registry sees it: repositories, tags in them, and which blobs belong to which. */
import { readTags, type IndexEntry } from "../../destination/oci-index.ts";
import { layoutError } from "../../destination/oci-layer.ts";
import type { BlobStore } from "../images/blob-store.ts";

export class StoredImages {
  readonly #blobs: BlobStore;

  constructor(blobs: BlobStore) {
    this.#blobs = blobs;
  }

  /** Tags by repository. @throws DvcrError E_LAYOUT_IO. */
  async repositories(): Promise<ReadonlyMap<string, ReadonlyMap<string, IndexEntry>>> {
    const found = new Map<string, Map<string, IndexEntry>>();
    for (const [name, entry] of await this.#tags()) {
      const colon = name.lastIndexOf(":");
      const repository = name.slice(0, Math.max(colon, 0));
      const tags = found.get(repository) ?? new Map<string, IndexEntry>();
      found.set(repository, tags.set(name.slice(colon + 1), entry));
    }
    found.delete("");
    return found;
  }

  /** True where an image of this repository is made of it: blobs of others are not shown here. */
  async holds(repository: string, digest: string): Promise<boolean> {
    const tags = (await this.repositories()).get(repository) ?? new Map<string, IndexEntry>();
    for (const entry of tags.values()) {
      if ((await this.#blobs.contentsOf(entry.digest)).includes(digest)) return true;
    }
    return false;
  }

  async #tags(): Promise<ReadonlyMap<string, IndexEntry>> {
    try {
      return await readTags(this.#blobs.directory);
    } catch (error) {
      throw layoutError(this.#blobs.directory, error);
    }
  }
}
