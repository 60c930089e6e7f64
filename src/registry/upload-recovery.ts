/** After a fault: what the session holds, and where the upload goes on from there, or in another session. */
import { toDvcrError, type DvcrError } from "../errors/dvcr-error.ts";
import { FailureError, type Failure } from "../retry/failure.ts";
import { decide } from "../retry/retry.ts";
import type { RegistryClient } from "./client.ts";
import { RegistryError } from "./errors.ts";
import type { Lesson } from "./push-traits.ts";
import type { UploadDelivery } from "./upload-delivery.ts";
import type { UploadFeed } from "./upload-feed.ts";
import type { UploadHold } from "./upload-hold.ts";
import { BlobUploadSession, type SessionPosition } from "./blob-upload-session.ts";

/** A registry that loses every session it is given will not keep the next one either. */
const maxSessions = 20;

export interface RecoveryEvents {
  /** Told the path of a session that could not be removed. */
  readonly onOrphan: (sessionPath: string) => void;
  /** Told how many bytes, released before, a new session is given again from the copy. */
  readonly onRestart: (bytes: number) => void;
}

export class UploadRecovery {
  readonly #client: RegistryClient;
  readonly #repository: string;
  readonly #parts: { readonly feed: UploadFeed; readonly hold: UploadHold; readonly delivery: UploadDelivery };
  readonly #events: RecoveryEvents;
  readonly #signal: AbortSignal;
  session: BlobUploadSession;
  #sessions = 1;
  /** How often a new session was filled from the copy. */
  restarts = 0;

  constructor(
    client: RegistryClient,
    repository: string,
    session: BlobUploadSession,
    parts: { readonly feed: UploadFeed; readonly hold: UploadHold; readonly delivery: UploadDelivery },
    events: RecoveryEvents,
    signal: AbortSignal,
  ) {
    this.#client = client;
    this.#repository = repository;
    this.session = session;
    this.#parts = parts;
    this.#events = events;
    this.#signal = signal;
  }

  /** What a failed PATCH or PUT says beyond that it failed. */
  learn(failure: Failure): Lesson | undefined {
    const { delivery, hold } = this.#parts;
    const { traits } = this.#client;
    // Of bytes that went in one PATCH nobody has a better version.
    const mixed = failure.code === "DIGEST_INVALID" && (delivery.isDoubtful || delivery.patches > 1);
    const lesson = mixed ? "restart" : traits.learn(failure, delivery.attempt);
    if (lesson !== "restart") return lesson;
    if (!hold.hasAll && !hold.canBeMadeAgain) return undefined;
    traits.onePatch = true;
    return lesson;
  }

  /**
   * Takes over the registry's view of the session, or starts another one where everything sent is still at hand.
   *
   * @param lesson what learn() made of the failure
   * @throws RegistryError with `sessionLost` where neither is possible, or as the registry answers.
   */
  async synchronise(error: FailureError, lesson: Lesson | undefined): Promise<void> {
    const { traits } = this.#client;
    const { hold, feed, delivery } = this.#parts;
    const position = await this.session.position(this.#signal).catch((asked: unknown) => {
      if (asked instanceof RegistryError && asked.failure.status === 401) return "untold" as const;
      throw asked;
    });
    if (delivery.attempt.streamed && error.failure.status === undefined) traits.cut();
    if (lesson !== "restart" && this.#mayGoOn(position)) {
      if (lesson === "resend" && position === delivery.acknowledged) traits.shrink(delivery.attempt.length);
      delivery.resume(position);
      return;
    }
    if (lesson === "resend" && typeof position !== "number") traits.shrink(delivery.attempt.length);
    if (!hold.hasAll || this.#sessions >= maxSessions) throw await this.#sessionLost();
    // `0-0` too: an empty session and one with a byte look alike, and 2.8 would append without a check.
    const old = this.session;
    this.session = await BlobUploadSession.startOnce(this.#client, this.#repository, this.#signal);
    this.#sessions += 1;
    if (feed.window.start > 0) {
      this.restarts += 1;
      this.#events.onRestart(feed.window.start);
    }
    delivery.restart();
    await this.remove(old, this.#signal);
  }

  /** Drops a session, best effort. */
  async remove(session: BlobUploadSession, signal: AbortSignal): Promise<void> {
    await session.cancel(signal).catch(() => {
      this.#events.onOrphan(session.path);
    });
  }

  #mayGoOn(position: SessionPosition): position is number {
    const { hold, feed, delivery } = this.#parts;
    const least = hold.hasAll ? 1 : feed.window.start;
    return typeof position === "number" && position >= least && position <= delivery.handed;
  }

  /** A registry that is full loses sessions too; what a new one meets is then the reason worth telling. */
  async #sessionLost(): Promise<DvcrError> {
    const probe = await BlobUploadSession.startOnce(this.#client, this.#repository, this.#signal).catch(
      (error: unknown) => toDvcrError(error),
    );
    if (probe instanceof BlobUploadSession) {
      await this.remove(this.session, this.#signal);
      this.session = probe;
    } else if (probe instanceof FailureError && decide(probe.failure, "request", "registry") === "give-up") {
      return probe;
    }
    const sent = `${String(this.#parts.delivery.acknowledged)} bytes of it were acknowledged`;
    return new RegistryError(
      "E_REGISTRY_UNAVAILABLE",
      `registry ${this.#client.host} has lost the upload, ${sent}`,
      {},
      { sessionLost: true },
    );
  }
}
