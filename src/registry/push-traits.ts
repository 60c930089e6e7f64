/** What uploads have learned of how a registry takes blobs: kept for the later ones of the same client. */
import type { Failure } from "../retry/failure.ts";
import { readOnly } from "../retry/retry.ts";

/** The request that failed. */
export interface Attempt {
  /** A body of open length, without Content-Range. */
  readonly streamed: boolean;
  /** The session took a PATCH before this one. */
  readonly continued: boolean;
  /** Bytes of a PATCH of known length. */
  readonly length: number;
}

/**
 * `adapted`: the next try is of another kind; `restart`: the session takes nothing more, another one may; `resend`:
 * where the session holds what it should, smaller PATCHes may do.
 */
export type Lesson = "adapted" | "restart" | "resend";

const smallestPatch = 256 << 10;
/**
 * Sizes of a PATCH that are tried one after the other, in bytes: GHCR takes 4 MiB, nginx 1 MiB where nobody says
 * otherwise.
 */
const smallerPatches = [4 << 20, 1 << 20, 512 << 10, smallestPatch];
/** Streams cut one after the other: whoever cuts them may be counting their bytes or seconds. */
const mostCuts = 2;
/** Answers to a PATCH by which registries say that a session takes one alone. */
const refusals = [400, 404, 405, 416, 500, 501];

export class PushTraits {
  /** Largest PATCH of known length, in bytes. */
  patchBytes: number = Infinity;
  /** A session takes one PATCH and no more. */
  onePatch = false;
  #streamRefused = false;
  #cuts = 0;
  #failures = 0;

  /** Whether blobs are sent in PATCHes of known length; `preferred` where that is as good for the caller. */
  inParts(preferred: boolean): boolean {
    return this.#streamRefused || (!this.onePatch && (preferred || this.#cuts >= mostCuts));
  }

  /** A PATCH was taken. */
  taken(streamed: boolean): void {
    this.#failures = 0;
    if (streamed) this.#cuts = 0;
  }

  /** A stream was cut although the registry can be reached. */
  cut(): void {
    this.#cuts += 1;
  }

  /** What `failure` of a PATCH says beyond that it failed. */
  learn({ status, code }: Failure, { streamed, continued, length }: Attempt): Lesson | undefined {
    if (streamed && (status === 411 || status === 413)) {
      this.#streamRefused = true;
      return "adapted";
    }
    if (status === 413) return this.shrink(length) ? "adapted" : undefined;
    if (code === readOnly) return undefined;
    if (!streamed && status === 416 && length > smallestPatch) return "resend";
    if (!continued || status === undefined || !refusals.includes(status)) return undefined;
    // A single one may be an accident.
    this.#failures = status >= 500 ? this.#failures + 1 : mostCuts;
    return this.#failures >= mostCuts ? "restart" : undefined;
  }

  /** Makes PATCHes smaller than `length`. False where they cannot be. */
  shrink(length: number): boolean {
    const smaller = smallerPatches.find((size) => size < length);
    if (smaller === undefined) return false;
    this.patchBytes = smaller;
    return true;
  }
}
