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
}

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

  /** Removes what check() names; asked for again while it runs, it is the same run. */
  run(): Promise<GcResult> {
    this.#running ??= this.#collect().finally(() => {
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

  async #collect(): Promise<GcResult> {
    const { place, blobs, log } = this.#deps;
    log.info("garbage collection begins");
    const { stale, usage } = await this.check();
    for (const { image } of stale) await place.remove(image, this.#closed.signal);
    await blobs.exclusively(() => blobs.removeUnneeded());
    const report = await this.check();
    // Imports go on, so that it may well be more than before.
    const result = { removed: stale, freed: Math.max(0, usage.used - report.usage.used), report };
    log.info(
      { removed: stale.map(({ image }) => `${image.repository}:${image.tag}`), freed: result.freed },
      "garbage collection is done",
    );
    return result;
  }
}
