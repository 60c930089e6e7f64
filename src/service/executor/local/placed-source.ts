import { DvcrError } from "../../../errors/dvcr-error.ts";
import type { Source } from "../../../source/source.ts";
import type { Place } from "./place.ts";

/** A source is judged by so many seconds of waiting for it. */
const judgedSeconds = 120;
/** Of one wait no more than this counts, in seconds: a server that was away is not a slow one. */
const countedSeconds = 30;

/**
 * The same source for a job that has a place: it computes on what comes only while it holds the place, which it gives
 * back while nothing comes. A source that brings fewer than `leastSpeed` bytes per second, over two minutes of waiting
 * for it, fails with E_SOURCE_SLOW; 0: any speed will do.
 */
export function placedSource(source: Source, place: Place, leastSpeed: number): Source {
  return {
    description: source.description,
    replayable: source.replayable,
    get refetchable() {
      return source.refetchable;
    },
    open: async (signal) => {
      const opened = await place.awaiting(source.open(signal));
      const floor = new SpeedFloor(source.description, leastSpeed);
      const { chunks } = opened;
      return {
        ...opened,
        ...("received" in opened ? { received: () => opened.received?.() ?? 0 } : {}),
        ...(chunks === undefined ? {} : { chunks: placedChunks(chunks, place, floor) }),
        ...("readRange" in opened
          ? {
              readRange: async (offset: number, length: number) => {
                const bytes = await place.awaiting(opened.readRange!(offset, length));
                await place.take();
                return bytes;
              },
            }
          : {}),
        close: () => opened.close(),
      };
    },
  };
}

async function* placedChunks(
  chunks: AsyncIterable<Uint8Array>,
  place: Place,
  floor: SpeedFloor,
): AsyncGenerator<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    for (;;) {
      const since = performance.now();
      const next = await place.awaiting(iterator.next());
      const waited = (performance.now() - since) / 1000;
      await place.take();
      if (next.done === true) return;
      floor.note(next.value.byteLength, waited);
      yield next.value;
    }
  } finally {
    await iterator.return?.();
  }
}

/** Judges a source by what it brings while it is waited for. */
class SpeedFloor {
  readonly #description: string;
  readonly #least: number;
  #bytes = 0;
  #waited = 0;

  constructor(description: string, least: number) {
    this.#description = description;
    this.#least = least;
  }

  /** `bytes` came after `waited` seconds. Throws E_SOURCE_SLOW. */
  note(bytes: number, waited: number): void {
    this.#bytes += bytes;
    this.#waited += Math.min(waited, countedSeconds);
    if (this.#waited < judgedSeconds) return;
    if (this.#bytes < this.#least * this.#waited) {
      throw new DvcrError(
        "E_SOURCE_SLOW",
        `${this.#description} has brought ${String(this.#bytes)} bytes in ` +
          `${String(Math.round(this.#waited))} seconds, fewer than ${String(this.#least)} a second`,
      );
    }
    this.#bytes = this.#waited = 0;
  }
}
