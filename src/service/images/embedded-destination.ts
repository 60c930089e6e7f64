/**
 * An import's way into the embedded store: what it writes is counted against the capacity and held until it is tagged.
 */
import { OciLayoutDestination } from "../../destination/oci.ts";
import { readTag } from "../../destination/oci-index.ts";
import type { CurrentImage, Destination } from "../../destination/destination.ts";
import type { LayerUpload } from "../../layer/layer-upload.ts";
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { ImageManifest } from "../../layer/image-config.ts";
import { isDiskFull } from "../store/space-reserve.ts";
import type { BlobStore } from "./blob-store.ts";

/** Bytes of uploads under way, against what may be stored. */
export interface Room {
  /** @throws DvcrError E_PLACE_FULL. */
  take(bytes: number): void;
  give(bytes: number): void;
}

export class EmbeddedDestination implements Destination {
  readonly reference: string;
  readonly chunksAhead: number;
  readonly #tag: string;
  readonly #blobs: BlobStore;
  readonly #room: Room;
  readonly #layout: OciLayoutDestination;

  constructor(blobs: BlobStore, tag: string, room: Room) {
    this.#blobs = blobs;
    this.#tag = tag;
    this.#room = room;
    this.#layout = new OciLayoutDestination(blobs.directory, tag);
    this.reference = this.#layout.reference;
    this.chunksAhead = this.#layout.chunksAhead;
  }

  current(signal: AbortSignal): Promise<CurrentImage | undefined> {
    return this.#layout.current(signal);
  }

  async beginLayer(signal: AbortSignal): Promise<LayerUpload> {
    this.#room.take(0);
    return new CountedUpload(await telling(this.#layout.beginLayer(signal)), this.#room, async (digest, commit) => {
      await this.#blobs.hold(this, [digest]);
      await commit();
      await this.#blobs.written([digest]);
    });
  }

  async commitImage(image: ImageManifest, signal: AbortSignal): Promise<void> {
    const small = [image.configDigest, image.manifestDigest];
    await this.#blobs.hold(this, [...small, image.layer.digest]);
    const before = await readTag(this.#blobs.directory, this.#tag);
    await telling(this.#layout.commitImage(image, signal));
    await this.#blobs.written(small);
    await this.#blobs.release(this);
    if (before === undefined || before.digest === image.manifestDigest) return;
    await this.#blobs.exclusively(async () => this.#blobs.removeUnneeded(await this.#blobs.contentsOf(before.digest)));
  }

  async close(): Promise<void> {
    await this.#blobs.release(this);
    await this.#layout.close();
  }
}

class CountedUpload implements LayerUpload {
  readonly #upload: LayerUpload;
  readonly #room: Room;
  readonly #keep: (digest: string, commit: () => Promise<void>) => Promise<void>;
  #taken = 0;

  constructor(upload: LayerUpload, room: Room, keep: (digest: string, commit: () => Promise<void>) => Promise<void>) {
    this.#upload = upload;
    this.#room = room;
    this.#keep = keep;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#room.take(chunk.byteLength);
    this.#taken += chunk.byteLength;
    await telling(this.#upload.write(chunk));
  }

  async commit(digest: string, size: number): Promise<void> {
    await this.#keep(digest, () => telling(this.#upload.commit(digest, size)));
    this.#giveBack();
  }

  async abort(): Promise<void> {
    this.#giveBack();
    await this.#upload.abort();
  }

  #giveBack(): void {
    this.#room.give(this.#taken);
    this.#taken = 0;
  }
}

/** A full disk is a full store. */
async function telling<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    throw new DvcrError("E_PLACE_FULL", "the disk under the store for images is full", { cause: error });
  }
}
