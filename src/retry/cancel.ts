import { toDvcrError, DvcrError } from "../errors/dvcr-error.ts";

/** What to throw for an aborted signal: its reason where that is one of our errors, else E_CANCELLED. */
export function cancellation(signal: AbortSignal): DvcrError {
  const reason: unknown = signal.reason;
  return reason instanceof DvcrError
    ? reason
    : new DvcrError("E_CANCELLED", "the import was cancelled", { cause: toDvcrError(reason) });
}

/** @throws DvcrError once `signal` is aborted. */
export function throwIfCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw cancellation(signal);
}
