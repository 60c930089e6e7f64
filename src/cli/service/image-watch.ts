/** An image that a command waits for. */
import type { Logger } from "pino";

import { DvcrError } from "../../errors/dvcr-error.ts";
import type { Condition, ImageObject } from "../../service/model/image.ts";
import type { ServiceClient } from "./client.ts";

/** What an ImageWatch needs. */
export interface ImageWatchOptions {
  readonly client: ServiceClient;
  /** Of the image in the API. */
  readonly path: string;
  /** The command that deletes the image. */
  readonly deletion: string;
  readonly logger: Logger;
  /** Between two looks at the resource. */
  readonly pause: () => Promise<void>;
}

/** Phases that an image may stay in until somebody does something, which nobody can who does not know of it. */
const idlePhases: readonly unknown[] = ["Pending", "ImageLost", "Terminating"];

/** Looks at an image again and again, and tells what keeps it waiting. */
export class ImageWatch {
  readonly #options: ImageWatchOptions;
  #told: string | undefined;

  constructor(options: ImageWatchOptions) {
    this.#options = options;
  }

  /** The image as it is now; warns where it waits for something else than before. */
  async look(): Promise<ImageObject> {
    const { client, path, logger } = this.#options;
    const image = await client.json<ImageObject>(path);
    const { phase } = image.status ?? {};
    const { reason, message } = readyOf(image) ?? { reason: "", message: "" };
    const waits = idlePhases.includes(phase)
      ? `${image.metadata.name} is ${phase ?? ""} (${reason}): ${message}`
      : undefined;
    if (waits !== undefined && waits !== this.#told) logger.warn(waits);
    this.#told = waits;
    return image;
  }

  /** The image once it `isDone`. @throws DvcrError E_IMAGE_FAILED with what its Ready condition tells. */
  async until(isDone: (image: ImageObject) => boolean): Promise<ImageObject> {
    const { deletion, pause } = this.#options;
    for (;;) {
      const image = await this.look();
      if (isDone(image)) return image;
      const { metadata, status } = image;
      // What is said of an earlier spec is not said of this one.
      if (status?.phase === "Failed" && (status.observedGeneration ?? metadata.generation) === metadata.generation) {
        throw new DvcrError(
          "E_IMAGE_FAILED",
          `${metadata.name} has failed: ${readyOf(image)?.message ?? "the server gave no reason"}`,
          {
            fix: `Delete it before you try again: \`${deletion}\`.`,
          },
        );
      }
      await pause();
    }
  }
}

function readyOf({ status }: ImageObject): Condition | undefined {
  return status?.conditions?.find(({ type }) => type === "Ready");
}
