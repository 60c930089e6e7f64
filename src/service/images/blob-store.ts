/**
 * The blobs of an OCI layout, and when one may go: when no tagged manifest refers to it and no import in flight holds
 * it. This process is the only writer of the layout (the data directory is its own).
 */
import { readdir, readFile, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { readTags } from "../../destination/oci-index.ts";
import { blobPath, syncDirectory } from "../../destination/oci-layer.ts";
import { DvcrError } from "../../errors/dvcr-error.ts";
import { referencedBy } from "../../registry/manifest-contents.ts";
import { isDigest } from "../../registry/reference.ts";

export class BlobStore {
  readonly directory: string;
  readonly #sizes = new Map<string, number>();
  readonly #held = new Map<object, Set<string>>();
  /** What a manifest refers to never changes. */
  readonly #contents = new Map<string, readonly string[]>();
  #turn: Promise<unknown> = Promise.resolve();
  #bytes = 0;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** Bytes of all blobs. */
  get bytes(): number {
    return this.#bytes;
  }

  get digests(): ReadonlyMap<string, number> {
    return this.#sizes;
  }

  /** Counts what is there. Imports may go on meanwhile. */
  async load(): Promise<void> {
    const folder = join(this.directory, "blobs/sha256");
    const found = (await readdir(folder)).map((name) => `sha256:${name}`).filter(isDigest);
    for (const digest of new Set([...found, ...this.#sizes.keys()])) {
      const file = await stat(blobPath(this.directory, digest)).catch(unlessMissing);
      if (file === undefined) this.#forget(digest);
      else this.#note(digest, file.size);
    }
  }

  /** One at a time: nothing is removed between what `work` reads and what it writes. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => {});
    return mine;
  }

  /** From when this resolves until release(), these blobs stay, whether they are there already or come. */
  hold(owner: object, digests: readonly string[]): Promise<void> {
    return this.exclusively(() => {
      const held = this.#held.get(owner) ?? new Set();
      for (const digest of digests) held.add(digest);
      this.#held.set(owner, held);
      return Promise.resolve();
    });
  }

  /** What was held and has no tag goes, too. */
  async release(owner: object): Promise<void> {
    const held = this.#held.get(owner);
    if (held === undefined) return;
    await this.exclusively(async () => {
      this.#held.delete(owner);
      await this.removeUnneeded(held);
    });
  }

  /** Counts blobs that were written. */
  async written(digests: readonly string[]): Promise<void> {
    for (const digest of digests) this.#note(digest, (await stat(blobPath(this.directory, digest))).size);
  }

  /** What the manifest `digest` is made of, itself included; only itself where it is gone or damaged. */
  async contentsOf(digest: string): Promise<readonly string[]> {
    return (await this.#read(digest)) ?? [digest];
  }

  /** True where the manifest and all that it refers to are there, each as long as it was when it was written. */
  async isWhole(digest: string): Promise<boolean> {
    const contents = await this.#read(digest);
    if (contents === undefined) return false;
    for (const part of contents) {
      const found = await stat(blobPath(this.directory, part)).catch(unlessMissing);
      if (found === undefined || found.size !== (this.#sizes.get(part) ?? found.size)) return false;
    }
    return true;
  }

  /**
   * Blobs that nobody needs: of `candidates`, or of all. For use inside of exclusively(). None where that cannot be
   * told: while the manifest of a tag cannot be read, any blob may be its layer.
   *
   * @throws DvcrError E_LAYOUT_IO where there is no index: it does not mean that there are no tags.
   */
  async unneeded(candidates: Iterable<string> = [...this.#sizes.keys()]): Promise<string[]> {
    const needed = new Set<string>();
    for (const held of this.#held.values()) for (const digest of held) needed.add(digest);
    if (!(await this.hasIndex()))
      throw new DvcrError("E_LAYOUT_IO", `OCI layout "${this.directory}": its index.json is gone`);
    for (const { digest } of (await readTags(this.directory)).values()) {
      const contents = await this.#read(digest);
      if (contents === undefined) return [];
      for (const part of contents) needed.add(part);
    }
    return [...candidates].filter((digest) => !needed.has(digest));
  }

  async hasIndex(): Promise<boolean> {
    return (await stat(join(this.directory, "index.json")).catch(unlessMissing)) !== undefined;
  }

  /** Removes what unneeded() names; bytes that became free. For use inside of exclusively(). */
  async removeUnneeded(candidates?: Iterable<string>): Promise<number> {
    const before = this.#bytes;
    for (const digest of await this.unneeded(candidates)) {
      await unlink(blobPath(this.directory, digest)).catch(unlessMissing);
      this.#forget(digest);
    }
    await syncDirectory(join(this.directory, "blobs/sha256"));
    return before - this.#bytes;
  }

  #note(digest: string, size: number): void {
    this.#bytes += size - (this.#sizes.get(digest) ?? 0);
    this.#sizes.set(digest, size);
  }

  #forget(digest: string): void {
    this.#bytes -= this.#sizes.get(digest) ?? 0;
    this.#sizes.delete(digest);
    this.#contents.delete(digest);
  }

  /** Remembered only where it can be read: one that is damaged may be written again. */
  async #read(digest: string): Promise<readonly string[] | undefined> {
    const known = this.#contents.get(digest);
    if (known !== undefined) return known;
    const bytes = await readFile(blobPath(this.directory, digest)).catch(unlessMissing);
    if (bytes === undefined) return undefined;
    const contents = [digest];
    try {
      const { manifests, blobs } = referencedBy({ bytes, mediaType: "", digest }, digest);
      for (const one of manifests) contents.push(...((await this.#read(one)) ?? [one]));
      contents.push(...blobs.map((blob) => blob.digest));
    } catch (error) {
      if (error instanceof DvcrError) return undefined;
      throw error;
    }
    this.#contents.set(digest, contents);
    return contents;
  }
}

function unlessMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
}
