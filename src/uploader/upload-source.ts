import type { Readable } from "node:stream";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import type { OpenSource, Source } from "../source/source.ts";
import { BodyReader, type BodyReaderOptions } from "./body-reader.ts";

/** The body of one upload as a source. It comes once: it can be neither replayed nor fetched again. */
export class UploadSource implements Source {
  readonly description = "upload";
  readonly replayable = false;
  readonly refetchable = false;
  readonly #reader: BodyReader;
  readonly #size: number | undefined;
  #opened = false;

  /** `size` in bytes where the client declared it. */
  constructor(stream: Readable, size: number | undefined, options: BodyReaderOptions) {
    this.#reader = new BodyReader(stream, options);
    this.#size = size;
  }

  open(signal: AbortSignal): Promise<OpenSource> {
    if (this.#opened) return Promise.reject(new DvcrError("E_INTERNAL", "an upload's body can be read only once"));
    this.#opened = true;
    const cancel = (): void => this.#reader.stop(toDvcrError(signal.reason));
    if (signal.aborted) cancel();
    else signal.addEventListener("abort", cancel, { once: true });
    return Promise.resolve({
      ...(this.#size === undefined ? {} : { size: this.#size }),
      chunks: this.#reader,
      close: () => {
        signal.removeEventListener("abort", cancel);
        this.#reader.stop();
        return Promise.resolve();
      },
    });
  }

  /** Stops reading for good, whether it was opened or not. */
  stop(): void {
    this.#reader.stop();
  }
}
