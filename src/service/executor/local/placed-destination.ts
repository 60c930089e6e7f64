import type { CurrentImage, Destination } from "../../../destination/destination.ts";
import type { LayerBacklog, LayerInsurance, LayerUpload } from "../../../layer/layer-upload.ts";
import { DvcrError } from "../../../errors/dvcr-error.ts";
import type { ImageManifest } from "../../../layer/image-config.ts";
import type { Place } from "./place.ts";

/** What stands between a job and where its image goes. */
export interface DestinationGuard {
  readonly place: Place;
  /** Throws what refuses an image of so many bytes, before it becomes visible. */
  readonly check: (bytes: number) => Promise<void>;
}

/**
 * A destination for a job that has a place: it takes the layer's bytes only while the job holds the place, so that one
 * whose small source makes much work gives way too. Its images become visible only once their size was checked; what
 * was pushed goes otherwise.
 */
export class PlacedDestination implements Destination {
  readonly #destination: Destination;
  readonly #guard: DestinationGuard;

  constructor(destination: Destination, guard: DestinationGuard) {
    this.#destination = destination;
    this.#guard = guard;
  }

  get reference(): string {
    return this.#destination.reference;
  }

  get chunksAhead(): number | undefined {
    return this.#destination.chunksAhead;
  }

  current(signal: AbortSignal): Promise<CurrentImage | undefined> {
    return this.#destination.current(signal);
  }

  async beginLayer(signal: AbortSignal, insurance?: LayerInsurance, backlog?: LayerBacklog): Promise<LayerUpload> {
    return placedLayer(await this.#destination.beginLayer(signal, insurance, backlog), this.#guard.place);
  }

  async commitImage(image: ImageManifest, signal: AbortSignal): Promise<void> {
    await this.#guard.check(image.layer.size);
    await this.#destination.commitImage(image, signal);
  }

  close(): Promise<void> {
    return this.#destination.close();
  }
}

function placedLayer(layer: LayerUpload, place: Place): LayerUpload {
  // Calls overlap and must reach the layer in their order; one that waits for a turn holds up those behind it.
  let before: Promise<unknown> = Promise.resolve();
  let isOver = false;
  return {
    write: async (chunk) => {
      const turn = before.then(() => place.take());
      before = turn.catch(() => undefined);
      await turn;
      if (isOver) throw new DvcrError("E_CANCELLED", "the layer is not wanted any more");
      await layer.write(chunk);
    },
    commit: (digest, size) => layer.commit(digest, size),
    abort: () => {
      isOver = true;
      return layer.abort();
    },
    get restarts() {
      return layer.restarts ?? 0;
    },
  };
}
