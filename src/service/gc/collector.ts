/** Garbage collection of the embedded store: images that no resource stands for, then blobs that no image needs. */
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { Logger } from "../../log/logger.ts";
import type { BlobStore } from "../images/blob-store.ts";
import type { ImagePlace } from "../images/image-place.ts";
import type { ProvisioningGate } from "../reconcile/gate.ts";
import type { ResourceStore } from "../store/store.ts";
import { takeInventory, type GcReport, type StaleImage } from "./inventory.ts";

export interface GcResult {
  readonly removed: readonly StaleImage[];
  /** Bytes. */
  readonly freed: number;
  /** As it is afterwards. */
  readonly report: GcReport;
}

export interface CollectorDeps {
  readonly store: ResourceStore;
  readonly place: ImagePlace;
  /** Those of `place`. */
  readonly blobs: BlobStore;
  readonly log: Logger;
  /** Of the images, 0 to 1, that one run may remove without being forced. Default half of them. */
  readonly maxShare?: number;
}

export interface GcRunOptions {
  /** Removes more than that share, and images that the database has never known. */
  readonly force?: boolean;
}

export const defaultMaxShare = 0.5;

export class GarbageCollector {
  readonly #deps: CollectorDeps;
  readonly #waiting = new Set<() => void>();
  readonly #closed = new AbortController();
  #running: Promise<GcResult> | undefined;

  constructor(deps: CollectorDeps) {
    this.#deps = deps;
  }

  /** Closed to new imports while it runs. Those under way go on: what they have written is held (BlobStore.hold). */
  readonly gate: ProvisioningGate = {
    isOpen: () => this.#running === undefined,
    onOpen: (listener) => {
      this.#waiting.add(listener);
      return () => this.#waiting.delete(listener);
    },
  };

  async check(): Promise<GcReport> {
    await this.#deps.blobs.load();
    return takeInventory(this.#deps.place, this.#deps.store, this.#closed.signal);
  }

  /**
   * Removes what check() lists; asked for again while it runs, it is the same run.
   *
   * @throws DvcrError E_GC_REFUSED where that is too much, and nothing is removed.
   */
  run(options: GcRunOptions = {}): Promise<GcResult> {
    this.#running ??= this.#collect(options.force === true).finally(() => {
      this.#running = undefined;
      for (const listener of [...this.#waiting]) listener();
    });
    return this.#running;
  }

  /** Ends what runs, and resolves when nothing does. */
  async close(): Promise<void> {
    this.#closed.abort(new DvcrError("E_CANCELLED", "the service stops"));
    await this.#running?.catch(() => undefined);
  }

  async #collect(force: boolean): Promise<GcResult> {
    const { store, place, blobs, log } = this.#deps;
    log.info({ force }, "garbage collection begins");
    const upTo = store.version();
    const before = await this.check();
    if (!force) this.#requireShare(before);
    const going = force ? [...before.stale, ...before.unknown] : before.stale;
    for (const { image } of going) await place.remove(image, this.#closed.signal);
    await blobs.exclusively(() => blobs.removeUnneeded());
    const report = await this.check();
    await this.#forgetWhatIsGone(report, upTo);
    // Imports go on, so that it may well be more than before.
    const result = { removed: going, freed: Math.max(0, before.usage.used - report.usage.used), report };
    log.info(
      {
        removed: going.map(({ image }) => `${image.repository}:${image.tag}`),
        unknown: report.unknown.length,
        freed: result.freed,
      },
      "garbage collection is done",
    );
    return result;
  }

  /** A large share to remove, or to miss, means rather that one of the two lists is not what it should be. */
  #requireShare({ images, resources, stale, missing }: GcReport): void {
    const maxShare = this.#deps.maxShare ?? defaultMaxShare;
    const percent = `${Math.round(maxShare * 100)} percent`;
    const stored = images.cvi + images.vi;
    if (stale.length > stored * maxShare)
      throw new DvcrError("E_GC_REFUSED", `${stale.length} of ${stored} images would go, more than ${percent}`);
    const known = resources.cvi + resources.vi;
    if (missing > known * maxShare)
      throw new DvcrError(
        "E_GC_REFUSED",
        `of ${known} resources, ${missing} are Ready with an image that the store does not list, more than ${percent}`,
      );
  }

  async #forgetWhatIsGone({ stale }: GcReport, upTo: string): Promise<void> {
    const { store } = this.#deps;
    const there = new Set(stale.map(({ image }) => image.tag));
    const gone = [...(await store.deletedImages())].filter((uid) => !there.has(uid));
    await store.forgetDeletedImages(gone, upTo);
  }
}
