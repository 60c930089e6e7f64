import { DvcrError } from "../errors/dvcr-error.ts";
import type { StopSignal } from "./outcome.ts";

/** Who told the process to stop, and the same as an abort signal whose reason is E_CANCELLED. */
export interface StopSignals {
  readonly signal: AbortSignal;
  stoppedBy(): StopSignal | undefined;
  release(): void;
}

/** Where signals come from: the process itself, or an emitter in tests. */
export interface SignalOrigin {
  on(name: StopSignal, listener: () => void): unknown;
  off(name: StopSignal, listener: () => void): unknown;
}

/**
 * Listens for SIGTERM and SIGINT; as process 1 of a container there is no other handler. `onStop` is called with the
 * first one. `unfinished` completes "before …".
 */
export function stopSignals(
  origin: SignalOrigin,
  onStop: (error: DvcrError) => void,
  unfinished = "the image was stored",
): StopSignals {
  const controller = new AbortController();
  let first: StopSignal | undefined;
  const listeners = (["SIGTERM", "SIGINT"] as const).map((name) => {
    const listener = (): void => {
      if (first !== undefined) return;
      first = name;
      const error = new DvcrError("E_CANCELLED", `the process was told to stop (${name}) before ${unfinished}`);
      onStop(error);
      controller.abort(error);
    };
    origin.on(name, listener);
    return { name, listener };
  });
  return {
    signal: controller.signal,
    stoppedBy: () => first,
    release: () => listeners.forEach(({ name, listener }) => origin.off(name, listener)),
  };
}
