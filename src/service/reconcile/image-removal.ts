import type { JobState, RunningJob } from "../executor/executor.ts";
import type { ImageObject, ImageStatus } from "../model/image.ts";
import { imageNameOf, labelOf, type ImageName } from "../model/names.ts";
import { imageFinalizer, type ImageWorkDeps, type WorkContext } from "./work-context.ts";

/** Brings an image that is being deleted to its end. */
export class ImageRemoval {
  readonly #deps: Pick<ImageWorkDeps, "store" | "executor" | "log">;
  readonly #cleanUp: (image: ImageObject, signal: AbortSignal) => Promise<void>;

  /** `cleanUp` ends and removes whatever there is of an image. */
  constructor(
    deps: Pick<ImageWorkDeps, "store" | "executor" | "log">,
    cleanUp: (image: ImageObject, signal: AbortSignal) => Promise<void>,
  ) {
    this.#deps = deps;
    this.#cleanUp = cleanUp;
  }

  async step(image: ImageObject, context: WorkContext): Promise<void> {
    const { metadata, status } = image;
    if (metadata.finalizers?.includes(imageFinalizer) !== true) return;
    let current = image;
    if (status?.phase !== "Terminating") {
      const ended = withoutUndefined<ImageStatus>({ ...status, imageUploadURLs: undefined, downloadSpeed: undefined });
      current = await this.#deps.store.update<ImageObject>(context.resource, {
        ...image,
        status: { ...ended, phase: "Terminating" },
      });
    }
    const users = this.#copiesOf(imageNameOf(image));
    if (users.length > 0) {
      // The last of them to end has this image looked at again.
      this.#deps.log.info(
        { image: labelOf(image), users: users.map(({ job }) => job.label) },
        "deletion waits for imports that read the image",
      );
      return;
    }
    await this.#cleanUp(image, context.signal);
    const finalizers = (current.metadata.finalizers ?? []).filter((one) => one !== imageFinalizer);
    await this.#deps.store.update<ImageObject>(context.resource, {
      ...current,
      metadata: { ...current.metadata, finalizers },
    });
    context.gone();
  }

  #copiesOf({ repository, tag }: ImageName): RunningJob[] {
    return this.#deps.executor.running().filter((running) => {
      const { source } = running.job;
      return (
        source.type === "copy" &&
        source.from.repository === repository &&
        source.from.tag === tag &&
        isUnderWay(running.state())
      );
    });
  }
}

const isUnderWay = ({ phase }: JobState): boolean => phase === "queued" || phase === "running";

function withoutUndefined<T extends object>(fields: { readonly [Key in keyof T]?: T[Key] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}
