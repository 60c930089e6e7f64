import type { Readable } from "node:stream";

import type { Source } from "./source.ts";

/** Bytes from a pipe: once, in order, of unknown length. */
export function streamSource(stream: Readable, description: string): Source {
  return {
    description,
    replayable: false,
    refetchable: false,
    open: () =>
      Promise.resolve({
        chunks: stream as AsyncIterable<Uint8Array>,
        close: () => {
          stream.destroy();
          return Promise.resolve();
        },
      }),
  };
}
