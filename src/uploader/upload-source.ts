import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import type { OpenSource, Source } from "../source/source.ts";
import type { ByteQueue } from "./byte-queue.ts";

export interface UploadSourceOptions {
  /** Bytes in all, where the client declared them. */
  readonly size: number | undefined;
  /** The bytes are a disk's own, packed in snappy's framing format. */
  readonly isFramedSnappy: boolean;
}

/**
 * What the connections of one upload bring, as a source. It comes once: it can be neither replayed nor fetched again.
 */
export class UploadSource implements Source {
  readonly description = "upload";
  readonly replayable = false;
  readonly refetchable = false;
  readonly #queue: ByteQueue;
  readonly #options: UploadSourceOptions;
  #opened = false;

  constructor(queue: ByteQueue, options: UploadSourceOptions) {
    this.#queue = queue;
    this.#options = options;
  }

  open(signal: AbortSignal): Promise<OpenSource> {
    if (this.#opened) return Promise.reject(new DvcrError("E_INTERNAL", "an upload's body can be read only once"));
    this.#opened = true;
    const cancel = (): void => this.#queue.fail(toDvcrError(signal.reason));
    if (signal.aborted) cancel();
    else signal.addEventListener("abort", cancel, { once: true });
    const { size, isFramedSnappy } = this.#options;
    return Promise.resolve({
      ...(size === undefined ? {} : { size }),
      ...(isFramedSnappy ? { isDisk: true, isFramedSnappy } : {}),
      chunks: this.#queue,
      close: () => {
        signal.removeEventListener("abort", cancel);
        this.#queue.close();
        return Promise.resolve();
      },
    });
  }
}
