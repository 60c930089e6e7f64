/**
 * An image from one repository to another, unchanged: manifests byte for byte, blobs mounted where the registry allows.
 */
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import { BlobUpload, type BlobUploadOptions } from "../registry/blob-upload.ts";
import { mountBlob, readBlob, statBlob, type BlobDescriptor } from "../registry/blobs.ts";
import type { RegistryClient } from "../registry/client.ts";
import { RegistryError } from "../registry/errors.ts";
import { getManifest, putManifest, statManifest, type StoredManifest } from "../registry/manifests.ts";
import { formatReference, manifestName, type ImageReference } from "../registry/reference.ts";
import { asSource } from "../source/registry/errors.ts";
import type { ImportProgress } from "../pipeline/import-image.ts";
import { referencedBy } from "../registry/manifest-contents.ts";

export interface CopyEnd {
  readonly client: RegistryClient;
  readonly reference: ImageReference;
}

export type TaggedEnd = CopyEnd & { readonly reference: { readonly tag: string } };

export type UploadEvents = Pick<BlobUploadOptions, "abortGraceMs" | "onOrphan" | "onNotice">;

/** What --json prints of a copy; sizes in bytes. */
export interface CopyReport {
  readonly source: string;
  readonly image: string;
  readonly manifestDigest: string;
  readonly durationSeconds: number;
  /** Bytes that passed through this process. */
  readonly copiedSize: number;
  /** Blobs that the registry took over by itself. */
  readonly mountedBlobs: number;
  /** Blobs that the destination had. */
  readonly presentBlobs: number;
  readonly copiedBlobs: number;
}

export interface RunningCopy {
  /** Bytes of blobs that are in place, and of all blobs once that is known. */
  progress(): ImportProgress;
  readonly done: Promise<CopyReport>;
}

/** One pass over a blob is begun again this often after its upload was lost; by then something else is wrong. */
const maxRestarts = 4;
/** Bytes in memory at most: what was just sent, in case of a cut, and what is read ahead. */
const windowBytes = 32 * 1024 * 1024;
/** Chunks are as small as the network makes them here. */
const chunkCounts = { patchBytes: 16 * 1024 * 1024, patchChunks: 16 * 1024, heldChunks: 16 * 1024 };

/**
 * Copies the image at `source`, all platforms of an index, to the tag of `destination`. Within one registry blobs are
 * mounted across repositories; those that it will not mount, and all others that are missing, are streamed. The tag is
 * written last; where it stands already nothing is sent.
 */
export function copyImage(
  source: CopyEnd,
  destination: TaggedEnd,
  signal: AbortSignal,
  uploads: UploadEvents = {},
): RunningCopy {
  const run = new CopyRun(source, destination, signal, uploads);
  return { progress: () => run.progress(), done: run.run() };
}

class CopyRun {
  readonly #source: CopyEnd;
  readonly #destination: TaggedEnd;
  readonly #signal: AbortSignal;
  readonly #uploads: UploadEvents;
  readonly #started = performance.now();
  readonly #done = new Set<string>();
  #totalBytes: number | undefined;
  #placedBytes = 0;
  #copiedSize = 0;
  #mounted = 0;
  #present = 0;
  #copied = 0;

  constructor(source: CopyEnd, destination: TaggedEnd, signal: AbortSignal, uploads: UploadEvents) {
    this.#source = source;
    this.#destination = destination;
    this.#signal = signal;
    this.#uploads = uploads;
  }

  progress(): ImportProgress {
    return {
      sourceBytes: this.#placedBytes,
      ...(this.#totalBytes === undefined ? {} : { sourceSize: this.#totalBytes }),
      layerBytes: this.#copiedSize,
    };
  }

  async run(): Promise<CopyReport> {
    try {
      const { client, reference } = this.#destination;
      const top = await this.#readManifest(manifestName(this.#source.reference));
      if ((await statManifest(client, reference.repository, reference.tag, this.#signal)) !== top.digest)
        await this.#copy(top);
      return this.#report(top);
    } catch (error) {
      throw toDvcrError(error);
    }
  }

  async #copy(top: StoredManifest): Promise<void> {
    const { client, reference } = this.#destination;
    const children: StoredManifest[] = [];
    const blobs: BlobDescriptor[] = [];
    await this.#collect(top, children, blobs);
    this.#totalBytes = blobs.reduce((sum, { size }) => sum + size, 0);
    for (const blob of blobs) await this.#place(blob);
    // Innermost first: a registry refuses an index whose entries it does not hold.
    for (const child of children) await putManifest(client, reference.repository, child.digest, child, this.#signal);
    await putManifest(client, reference.repository, reference.tag, top, this.#signal);
  }

  /** Gathers what `manifest` is made of: manifests below it, innermost first, and blobs, each once. */
  async #collect(manifest: StoredManifest, children: StoredManifest[], blobs: BlobDescriptor[]): Promise<void> {
    const contents = referencedBy(manifest, formatReference(this.#source.reference));
    for (const digest of contents.manifests.filter((one) => !this.#done.has(one))) {
      this.#done.add(digest);
      const child = await this.#readManifest(digest);
      await this.#collect(child, children, blobs);
      children.push(child);
    }
    for (const blob of contents.blobs.filter(({ digest }) => !this.#done.has(digest))) {
      this.#done.add(blob.digest);
      blobs.push(blob);
    }
  }

  async #readManifest(name: string): Promise<StoredManifest> {
    const { client, reference } = this.#source;
    const found = await asSource(() => getManifest(client, reference.repository, name, this.#signal));
    if (found === undefined)
      throw new DvcrError(
        "E_SOURCE_NOT_FOUND",
        `registry ${client.host} has no manifest ${name} of ${formatReference(reference)}`,
      );
    return found;
  }

  async #place(blob: BlobDescriptor): Promise<void> {
    const { client, reference } = this.#destination;
    const from = this.#source.reference;
    const before = this.#placedBytes;
    if (
      reference.host === from.host &&
      reference.repository !== from.repository &&
      (await mountBlob(client, reference.repository, blob.digest, from.repository, this.#signal))
    ) {
      this.#mounted += 1;
    } else if ((await statBlob(client, reference.repository, blob.digest, this.#signal)) === blob.size) {
      this.#present += 1;
    } else {
      await this.#stream(blob);
      this.#copied += 1;
    }
    this.#placedBytes = before + blob.size;
  }

  /** Through this process, with only a window of it in memory; begun again where the registry has lost the upload. */
  async #stream(blob: BlobDescriptor): Promise<void> {
    const { client, reference } = this.#destination;
    const before = this.#placedBytes;
    for (let restarts = 0; ; restarts++) {
      const upload = await BlobUpload.begin(client, reference.repository, this.#signal, {
        ...this.#uploads,
        ...chunkCounts,
      });
      try {
        await this.#send(blob, upload);
        await upload.commit(blob.digest, blob.size);
        return;
      } catch (error) {
        await upload.abort();
        if (!(error instanceof RegistryError && error.sessionLost) || restarts === maxRestarts) throw error;
        this.#placedBytes = before;
      }
    }
  }

  async #send(blob: BlobDescriptor, upload: BlobUpload): Promise<void> {
    const { client, reference } = this.#source;
    const inFlight = new Set<Promise<void>>();
    let failure: unknown;
    let bytes = 0;
    const chunks = readBlob(client, reference.repository, blob, this.#signal);
    for (;;) {
      const next = await asSource(() => chunks.next());
      if (next.done === true) break;
      const chunk = next.value;
      bytes += chunk.byteLength;
      const write = upload
        .write(chunk)
        .then(
          () => {
            this.#placedBytes += chunk.byteLength;
            this.#copiedSize += chunk.byteLength;
          },
          (error: unknown) => (failure ??= error),
        )
        .then(() => {
          inFlight.delete(write);
          bytes -= chunk.byteLength;
        });
      inFlight.add(write);
      while (bytes >= windowBytes && failure === undefined) await Promise.race(inFlight);
      if (failure !== undefined) break;
    }
    await chunks.return(undefined);
    // commit() sends what is left and tells its own failure.
    if (failure !== undefined) throw toDvcrError(failure);
  }

  #report(top: StoredManifest): CopyReport {
    const { reference } = this.#destination;
    return {
      source: `docker://${formatReference(this.#source.reference)}`,
      image: `docker://${formatReference(reference)}`,
      manifestDigest: top.digest,
      durationSeconds: (performance.now() - this.#started) / 1000,
      copiedSize: this.#copiedSize,
      mountedBlobs: this.#mounted,
      presentBlobs: this.#present,
      copiedBlobs: this.#copied,
    };
  }
}
