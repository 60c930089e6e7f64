import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";

/** Bytes that start the idle clock anew: one that comes a byte at a time counts as silent. */
const heardBytes = 4096;

export interface BodyReaderOptions {
  /** The request that carries `stream`: itself, or a form around it. */
  readonly request: IncomingMessage;
  /** Milliseconds that the client may send nothing while bytes are asked for. */
  readonly idleTimeout: number;
}

/**
 * A request's body as chunks. Unlike the stream's own iterator it leaves the connection open when it is stopped or
 * fails, because the client is still to be answered, and it can be stopped while it waits for the client.
 *
 * Ends or throws E_CLIENT_GONE, E_CLIENT_STALLED or E_BAD_REQUEST (a form that is not whole).
 */
export class BodyReader implements AsyncIterableIterator<Uint8Array> {
  readonly #stream: Readable;
  readonly #options: BodyReaderOptions;
  #failure: DvcrError | undefined;
  #stopped = false;
  #wake: (() => void) | undefined;
  #waitingSince: number | undefined;
  /** Milliseconds waited, and bytes that came, since enough of them had come. */
  #waited = 0;
  #heard = 0;

  constructor(stream: Readable, options: BodyReaderOptions) {
    this.#stream = stream;
    this.#options = options;
    stream.on("readable", this.#onChange);
    stream.on("end", this.#onChange);
    stream.on("close", this.#onChange);
    stream.on("error", this.#onError);
    options.request.on("close", this.#onChange);
    options.request.on("error", this.#onError);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Since when it has been waiting for the client's next bytes (performance.now()), if it is. */
  get waitingSince(): number | undefined {
    return this.#waitingSince;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#stopped) return { value: undefined, done: true };
      const chunk = this.#stream.read() as Uint8Array | null;
      if (chunk !== null) {
        this.#waitingSince = undefined;
        this.#heard += chunk.length;
        if (this.#heard >= heardBytes) this.#heard = this.#waited = 0;
        return { value: chunk, done: false };
      }
      if (this.#stream.readableEnded) return { value: undefined, done: true };
      if (this.#stream.destroyed || this.#options.request.destroyed) this.#fail(this.#gone());
      else await this.#change();
    }
  }

  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.stop();
    return Promise.resolve({ value: undefined, done: true });
  }

  /** Ends the iteration, with `reason` where one is given; a waiting next() returns at once. */
  stop(reason?: DvcrError): void {
    if (reason !== undefined) this.#fail(reason);
    this.#stopped = true;
    this.#stream.off("readable", this.#onChange);
    this.#onChange();
  }

  readonly #onChange = (): void => {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  };

  // Stays attached after stop(): an error without a listener would end the process.
  readonly #onError = (error: Error): void => {
    if (this.#options.request.complete) {
      this.#fail(new DvcrError("E_BAD_REQUEST", `the form is not whole: ${error.message}`, { cause: error }));
    } else {
      this.#fail(this.#gone(error));
    }
    this.#onChange();
  };

  #fail(error: DvcrError): void {
    this.#failure ??= error;
  }

  #gone(cause?: Error): DvcrError {
    return new DvcrError("E_CLIENT_GONE", "the client closed the connection before the end of its data", {
      cause: toDvcrError(cause),
    });
  }

  /** Resolves when there is something new to look at. The clock runs only here, so a slow registry stalls no client. */
  async #change(): Promise<void> {
    const { idleTimeout } = this.#options;
    const from = performance.now();
    this.#waitingSince ??= from;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(
        () => {
          this.#fail(new DvcrError("E_CLIENT_STALLED", `no data came for ${idleTimeout / 1000} seconds`));
          resolve();
        },
        Math.max(0, idleTimeout - this.#waited),
      );
    });
    clearTimeout(timer);
    this.#waited += performance.now() - from;
  }
}
