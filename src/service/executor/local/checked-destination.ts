import type {
  CurrentImage,
  Destination,
  LayerBacklog,
  LayerInsurance,
  LayerUpload,
} from "../../../destination/destination.ts";
import type { ImageManifest } from "../../../layer/image-config.ts";

/** A destination whose images become visible only after `check` has let their size pass; what was pushed goes otherwise. */
export class CheckedDestination implements Destination {
  readonly #destination: Destination;
  readonly #check: (bytes: number) => Promise<void>;

  constructor(destination: Destination, check: (bytes: number) => Promise<void>) {
    this.#destination = destination;
    this.#check = check;
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

  beginLayer(signal: AbortSignal, insurance?: LayerInsurance, backlog?: LayerBacklog): Promise<LayerUpload> {
    return this.#destination.beginLayer(signal, insurance, backlog);
  }

  async commitImage(image: ImageManifest, signal: AbortSignal): Promise<void> {
    await this.#check(image.layer.size);
    await this.#destination.commitImage(image, signal);
  }

  close(): Promise<void> {
    return this.#destination.close();
  }
}
