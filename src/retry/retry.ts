/** The one table of what is tried again, and the waiting in between. Used towards registries and sources alike. */
import { cancellation, throwIfCancelled } from "./cancel.ts";
import { systemClock, type Clock } from "./clock.ts";
import { FailureError, type Failure } from "./failure.ts";

/** `again`: the same request may be sent once more. `resume`: ask how far the transfer came and go on from there. */
export type Decision = "again" | "resume" | "give-up";

/** `request`: nothing of value is lost with a failed one. `transfer`: part of a body has been delivered. */
export type Phase = "request" | "transfer";
export type Peer = "registry" | "source";

/** The code of a Failure where a registry says that it takes no writes for now. */
export const readOnly = "READONLY";

interface Row {
  readonly codes?: readonly string[];
  readonly statuses?: readonly number[];
  readonly peer?: Peer;
  readonly request: Decision;
  readonly transfer: Decision;
}

/** The first row that matches decides; what no row names is given up. */
const table: readonly Row[] = [
  // The server's disk is full: it stays so until someone acts.
  { codes: ["ENOSPC"], statuses: [507], request: "give-up", transfer: "give-up" },
  // A registry's own word counts before the status it comes with.
  { codes: ["TOOMANYREQUESTS", "UNAVAILABLE"], peer: "registry", request: "again", transfer: "resume" },
  // The session may be gone or elsewhere than we believe: only asking it tells.
  {
    codes: ["RANGE_INVALID", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"],
    peer: "registry",
    request: "give-up",
    transfer: "resume",
  },
  {
    codes: ["UNAUTHORIZED", "DENIED", "NAME_INVALID", "NAME_UNKNOWN", "TAG_INVALID", "SIZE_INVALID", "DIGEST_INVALID"],
    peer: "registry",
    request: "give-up",
    transfer: "give-up",
  },
  {
    codes: [
      "MANIFEST_INVALID",
      "MANIFEST_UNKNOWN",
      "MANIFEST_UNVERIFIED",
      "MANIFEST_BLOB_UNKNOWN",
      "BLOB_UNKNOWN",
      "UNSUPPORTED",
    ],
    peer: "registry",
    request: "give-up",
    transfer: "give-up",
  },
  // A dead or restarting server, a cut, a stall, a name service that is away.
  {
    codes: [
      "ECONNRESET",
      "ECONNREFUSED",
      "ECONNABORTED",
      "EPIPE",
      "ETIMEDOUT",
      "EHOSTUNREACH",
      "EHOSTDOWN",
      "ENETUNREACH",
      "ENETDOWN",
      "ENOTFOUND",
      "EAI_AGAIN",
      "EAI_FAIL",
      "UND_ERR_SOCKET",
      "UND_ERR_CONNECT_TIMEOUT",
      "UND_ERR_HEADERS_TIMEOUT",
      "UND_ERR_BODY_TIMEOUT",
      "UND_ERR_RES_CONTENT_LENGTH_MISMATCH",
      "UND_ERR_INFO",
      "HPE_INVALID_EOF_STATE",
    ],
    request: "again",
    transfer: "resume",
  },
  { statuses: [408, 425, 429, 500, 502, 503, 504], request: "again", transfer: "resume" },
  // DVCR refuses every write while it collects garbage; it passes.
  { codes: [readOnly], peer: "registry", request: "again", transfer: "resume" },
  { statuses: [404, 416], peer: "registry", request: "give-up", transfer: "resume" },
];

/** What to do after `failure`. */
export function decide(failure: Failure, phase: Phase, peer: Peer): Decision {
  const row = table.find(
    (one) =>
      (one.peer === undefined || one.peer === peer) &&
      ((failure.code !== undefined && one.codes?.includes(failure.code)) ||
        (failure.status !== undefined && one.statuses?.includes(failure.status))),
  );
  return row?.[phase] ?? "give-up";
}

export interface RetryPolicy {
  readonly firstDelayMs: number;
  readonly factor: number;
  readonly maxDelayMs: number;
  /** Up to this share is added to every delay, so that many clients do not come back at once. */
  readonly jitter: number;
  /** From the first failure without progress to giving up. */
  readonly deadlineMs: number;
}

/** Long enough for DVCR's garbage collection: ten minutes of cleaning and two pod starts. */
export const defaultRetryPolicy: RetryPolicy = {
  firstDelayMs: 1000,
  factor: 3,
  maxDelayMs: 60_000,
  jitter: 0.1,
  deadlineMs: 17 * 60_000,
};

/** The pauses between tries of one thing. */
export class Backoff {
  readonly #policy: RetryPolicy;
  readonly #clock: Clock;
  #failures = 0;
  #since: number | undefined;

  constructor(policy: RetryPolicy = defaultRetryPolicy, clock: Clock = systemClock) {
    this.#policy = policy;
    this.#clock = clock;
  }

  /** Something moved: the next failure is the first again. */
  reset(): void {
    this.#failures = 0;
    this.#since = undefined;
  }

  /**
   * Sleeps before the next try. False, without sleeping, once the deadline has passed.
   *
   * @param options.retryAfterMs what the server asked for; waited for where the deadline allows
   * @param options.deadlineMs a shorter deadline than the policy's
   * @param options.onWait told how long the pause will be
   * @throws DvcrError once the signal is aborted.
   */
  async wait(
    signal: AbortSignal,
    options: { retryAfterMs?: number | undefined; deadlineMs?: number; onWait?: (ms: number) => void } = {},
  ): Promise<boolean> {
    throwIfCancelled(signal);
    const now = this.#clock.now();
    this.#since ??= now;
    const left = this.#since + (options.deadlineMs ?? this.#policy.deadlineMs) - now;
    if (left <= 0) return false;
    const plain = Math.min(this.#policy.maxDelayMs, this.#policy.firstDelayMs * this.#policy.factor ** this.#failures);
    this.#failures += 1;
    const jittered = plain * (1 + this.#policy.jitter * this.#clock.random());
    const delay = Math.min(left, Math.max(jittered, options.retryAfterMs ?? 0));
    options.onWait?.(delay);
    await this.#clock.sleep(delay, signal);
    return true;
  }
}

/** Told before each pause; for logs. */
export interface RetryEvent {
  readonly error: FailureError;
  readonly delayMs: number;
}

export interface RetryOptions {
  readonly peer: Peer;
  readonly signal: AbortSignal;
  /** `transfer` where `attempt` finds out by itself how far it came. Default `request`. */
  readonly phase?: Phase;
  readonly policy?: RetryPolicy;
  readonly clock?: Clock;
  /** A deadline for this failure that is shorter than the policy's. */
  readonly deadlineMs?: (failure: Failure) => number;
  readonly onRetry?: (event: RetryEvent) => void;
}

/** Runs `attempt` until it succeeds, the table gives up or the deadline passes; then its last error is thrown. */
export async function retrying<T>(attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  const backoff = new Backoff(options.policy, options.clock);
  for (;;) {
    throwIfCancelled(options.signal);
    try {
      return await attempt();
    } catch (error) {
      if (options.signal.aborted) throw cancellation(options.signal);
      if (
        !(error instanceof FailureError) ||
        decide(error.failure, options.phase ?? "request", options.peer) === "give-up"
      )
        throw error;
      const deadline = options.deadlineMs?.(error.failure);
      const waited = await backoff.wait(options.signal, {
        retryAfterMs: error.failure.retryAfterMs,
        ...(deadline === undefined ? {} : { deadlineMs: deadline }),
        onWait: (delayMs) => options.onRetry?.({ error, delayMs }),
      });
      if (!waited) throw error;
    }
  }
}
