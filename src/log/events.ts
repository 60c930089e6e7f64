import type { Logger } from "pino";

import type { RetryEvent } from "../retry/retry.ts";

/** Logs each pause before another try. */
export function logRetries(log: Logger, peer: string): (event: RetryEvent) => void {
  return ({ error, delayMs }) => {
    log.warn({ err: error, peer, delayMs: Math.round(delayMs) }, "failed, trying again");
  };
}

/** Logs what becomes of upload sessions beside their plain course. */
export function logUploads(log: Logger): {
  readonly onOrphan: (session: string) => void;
  readonly onRestart: (bytes: number) => void;
  readonly onNotice: (text: string) => void;
} {
  return {
    onOrphan: (session) => {
      log.warn({ session }, "the upload session could not be removed; the registry's purge will");
    },
    onRestart: (bytes) => {
      log.warn({ bytes }, "the registry lost the upload; it is begun again from scratch");
    },
    onNotice: (text) => {
      log.warn(text);
    },
  };
}
