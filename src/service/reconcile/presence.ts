import type { ImagePlace } from "../images/image-place.ts";
import type { ImageObject, ImageStatus } from "../model/image.ts";
import { imageNameOf } from "../model/names.ts";
import type { StatusWriter } from "./status-writer.ts";
import { isFalse, isTrue } from "./status.ts";
import type { WorkContext } from "./work-context.ts";

/** Whether the images that should be stored still are. */
export class Presence {
  readonly #place: ImagePlace;
  readonly #writer: StatusWriter;
  /** Images found in the store since it was last asked for, by uid. */
  readonly #present = new Set<string>();

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
  }

  /** It was stored just now. */
  note(uid: string): void {
    this.#present.add(uid);
  }

  /** Looks for a Ready or ImageLost image, and writes what was found where it differs. */
  async check(image: ImageObject, context: WorkContext): Promise<void> {
    const { uid } = image.metadata;
    if (this.#present.has(uid) && image.status?.phase === "Ready") return;
    const isThere = await this.#place.has(imageNameOf(image), context.signal);
    if (isThere) this.#present.add(uid);
    if (isThere === (image.status?.phase === "Ready")) return;
    const { status = {} } = image;
    await this.#writer.write(
      image,
      {
        ...withoutConditions(status),
        phase: isThere ? "Ready" : "ImageLost",
        datasource: isTrue("DatasourceReady"),
        ready: isThere
          ? isTrue("Ready")
          : isFalse("ImageLost", "the image is not in the store any more; delete the resource and make it again"),
      },
      context,
    );
    await this.#writer.tell(
      image,
      isThere ? "Normal" : "Warning",
      isThere ? "ImageFound" : "ImageLost",
      isThere ? "The image is in the store again" : "The image is not in the store any more",
    );
  }
}

export function withoutConditions({
  conditions: _conditions,
  observedGeneration: _generation,
  ...rest
}: ImageStatus): Omit<ImageStatus, "conditions" | "observedGeneration"> {
  return rest;
}
