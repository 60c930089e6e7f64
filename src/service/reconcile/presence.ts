import { isDeepStrictEqual } from "node:util";
import type { ImagePlace } from "../images/image-place.ts";
import { storedImage, type StoredImage } from "../images/stored-image.ts";
import type { ImageObject, ImageStatus } from "../model/image.ts";
import { imageNameOf } from "../model/names.ts";
import type { StatusWriter } from "./status-writer.ts";
import { isFalse, isTrue, repairedStatus } from "./status.ts";
import type { WorkContext } from "./work-context.ts";

/** Whether the images that should be stored still are, and whether their status says what the place says of them. */
export class Presence {
  readonly #place: ImagePlace;
  readonly #writer: StatusWriter;
  /** Images found in the store since it was last asked for, by uid. */
  readonly #present = new Set<string>();
  /** What the place says of them, by uid: a stored image never changes. */
  readonly #facts = new Map<string, StoredImage>();

  constructor(place: ImagePlace, writer: StatusWriter) {
    this.#place = place;
    this.#writer = writer;
  }

  /** Every image is looked up again at its next step. */
  forgetAll(): void {
    this.#present.clear();
  }

  forget(uid: string): void {
    this.#present.delete(uid);
    this.#facts.delete(uid);
  }

  /** True for an image that was stored, whatever phase somebody has written since. */
  isKnown(uid: string): boolean {
    return this.#present.has(uid);
  }

  /** It was stored just now. */
  note(uid: string): void {
    this.#present.add(uid);
  }

  /** Looks for an image that is, or was, stored, and writes what was found where the status differs. */
  async check(image: ImageObject, context: WorkContext): Promise<void> {
    const { metadata, status = {} } = image;
    const { uid } = metadata;
    const isReady = status.phase === "Ready";
    const name = imageNameOf(image);
    const isThere = (isReady && this.#present.has(uid)) || (await this.#place.has(name, context.signal));
    if (isThere) this.#present.add(uid);
    else this.forget(uid);
    const facts = isThere ? await this.#factsOf(image, context.signal) : undefined;
    const right = facts === undefined ? status : repairedStatus(status, facts, this.#place.urlOf(name));
    if (isThere === isReady && isDeepStrictEqual(right, status)) return;
    await this.#writer.write(
      image,
      {
        ...withoutConditions(right),
        phase: isThere ? "Ready" : "ImageLost",
        datasource: isTrue("DatasourceReady"),
        ready: isThere
          ? isTrue("Ready")
          : isFalse("ImageLost", "the image is not in the store any more; delete the resource and make it again"),
      },
      context,
    );
    if (isThere === isReady) return;
    await this.#writer.tell(
      image,
      isThere ? "Normal" : "Warning",
      isThere ? "ImageFound" : "ImageLost",
      isThere ? "The image is in the store again" : "The image is not in the store any more",
    );
  }

  async #factsOf(image: ImageObject, signal: AbortSignal): Promise<StoredImage | undefined> {
    const { uid } = image.metadata;
    const known = this.#facts.get(uid);
    if (known !== undefined) return known;
    const found = await storedImage(this.#place, imageNameOf(image), signal);
    if (found !== undefined) this.#facts.set(uid, found);
    return found;
  }
}

export function withoutConditions({
  conditions: _conditions,
  observedGeneration: _generation,
  ...rest
}: ImageStatus): Omit<ImageStatus, "conditions" | "observedGeneration"> {
  return rest;
}
