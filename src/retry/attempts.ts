import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import { Backoff } from "./retry.ts";

export interface AttemptOptions {
  readonly signal: AbortSignal;
  /** How often it is tried again at most. */
  readonly retries: number;
  /** Pauses between attempts; false when it has lasted long enough. */
  readonly backoff?: Pick<Backoff, "wait"> | undefined;
  /**
   * False: this failure is final though it may pass, because trying again costs too much. Default: all may be tried
   * again.
   */
  readonly mayPass?: (error: DvcrError) => boolean;
  /** Told before each pause. */
  readonly onRetry: (error: DvcrError, attempt: number) => void;
}

/** A fault of the program is there again at the next attempt, as a rule. */
export const INTERNAL_RETRIES = 2;

/**
 * A whole job, such as an import, again and again while its failures may pass by the error catalogue. Single requests
 * are tried again below, by retrying(). Throws the last error, saying how often it was tried.
 */
export async function inAttempts<T>(attempt: () => Promise<T>, options: AttemptOptions): Promise<T> {
  const { signal, backoff = new Backoff() } = options;
  for (let count = 1; ; count += 1) {
    try {
      return await attempt();
    } catch (thrown) {
      const error = toDvcrError(thrown);
      if (signal.aborted || error.entry.kind !== "retry" || options.mayPass?.(error) === false) throw error;
      const exhausted = new DvcrError(error.code, `no success after ${count} attempts: ${error.message}`, {
        cause: error,
      });
      const retries = error.code === "E_INTERNAL" ? Math.min(INTERNAL_RETRIES, options.retries) : options.retries;
      if (count > retries) throw exhausted;
      options.onRetry(error, count);
      if (!(await backoff.wait(signal))) throw exhausted;
    }
  }
}
