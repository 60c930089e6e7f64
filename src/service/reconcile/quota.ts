/** What the VirtualImages of each namespace may take: those that are stored, and those on their way there. */
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { ImagePlace } from "../images/image-place.ts";
import { storedImage } from "../images/stored-image.ts";
import type { ImageObject } from "../model/image.ts";
import { imageNameOf } from "../model/names.ts";
import { formatSize } from "../model/quantities.ts";
import type { ResourceStore } from "../store/store.ts";

export interface QuotaLimits {
  readonly namespaceBytes: number;
  readonly namespaceImages: number;
}

interface OnItsWay {
  readonly namespace: string;
  /** What it is about to take; 0 until that is known. */
  bytes: number;
}

/** How long it may take to ask the place, for an image that is about to be stored. */
const claimMs = 30_000;

/**
 * Images count from when they may begin, and with their size from just before they are stored. Afterwards the place
 * says whether they are there and what they take: a status is what somebody has written.
 */
export class NamespaceQuota {
  readonly #store: ResourceStore;
  readonly #place: ImagePlace;
  readonly #limits: () => QuotaLimits;
  /** By uid. */
  readonly #onTheirWay = new Map<string, OnItsWay>();
  /** Bytes in the place, 0 for what is not there; by uid, until leave(). */
  readonly #stored = new Map<string, number>();
  /** One count of a namespace at a time: of several images that come together each is counted by those after it. */
  readonly #turns = new Map<string, Promise<unknown>>();

  /** `limits` is read at each use: they can be raised while the service runs. */
  constructor(store: ResourceStore, place: ImagePlace, limits: () => QuotaLimits) {
    this.#store = store;
    this.#place = place;
    this.#limits = limits;
  }

  /** Lets the import of `image` begin; it counts until leave(). Throws E_QUOTA, and what the place fails with. */
  async enter({ metadata: { namespace, uid } }: ImageObject, signal: AbortSignal): Promise<void> {
    if (namespace === undefined) return;
    await this.#inTurn(namespace, async () => {
      const { images, bytes } = await this.#usedBesides(uid, namespace, signal);
      const { namespaceBytes, namespaceImages } = this.#limits();
      if (images >= namespaceImages || bytes >= namespaceBytes) {
        const most = images >= namespaceImages ? `${namespaceImages} images` : formatSize(namespaceBytes);
        throw new DvcrError(
          "E_QUOTA",
          `namespace ${namespace} may hold ${most} and holds ${images} images of ${formatSize(bytes)}`,
        );
      }
      this.#onTheirWay.set(uid, { namespace, bytes: 0 });
    });
  }

  /**
   * The image, which was let in, is about to be stored and to take `bytes`. Throws E_QUOTA_EXCEEDED where they do not
   * fit.
   */
  async claim(uid: string, bytes: number): Promise<void> {
    const own = this.#onTheirWay.get(uid);
    if (own === undefined) return;
    await this.#inTurn(own.namespace, async () => {
      const used = (await this.#usedBesides(uid, own.namespace, AbortSignal.timeout(claimMs))).bytes;
      const { namespaceBytes } = this.#limits();
      if (used + bytes > namespaceBytes) {
        throw new DvcrError(
          "E_QUOTA_EXCEEDED",
          `the image takes ${formatSize(bytes)}; namespace ${own.namespace} may hold ` +
            `${formatSize(namespaceBytes)} and holds ${formatSize(used)} without it`,
        );
      }
      own.bytes = bytes;
    });
  }

  /** The image is stored, and counted as such, or it is not on its way any more. */
  leave(uid: string): void {
    this.#onTheirWay.delete(uid);
    this.#stored.delete(uid);
  }

  async #inTurn(namespace: string, work: () => Promise<void>): Promise<void> {
    const before = this.#turns.get(namespace) ?? Promise.resolve();
    const mine = before.then(work);
    const ended = mine.catch(() => undefined);
    this.#turns.set(namespace, ended);
    try {
      await mine;
    } finally {
      if (this.#turns.get(namespace) === ended) this.#turns.delete(namespace);
    }
  }

  async #usedBesides(
    uid: string,
    namespace: string,
    signal: AbortSignal,
  ): Promise<{ readonly images: number; readonly bytes: number }> {
    const { namespaceBytes, namespaceImages } = this.#limits();
    if (namespaceBytes === Infinity && namespaceImages === Infinity) return { images: 0, bytes: 0 };
    const { items } = await this.#store.list<ImageObject>("virtualimages", { namespace });
    const used = { images: 0, bytes: 0 };
    for (const image of items) {
      if (image.metadata.uid === uid) continue;
      const stored = await this.#bytesOf(image, signal);
      const coming = this.#onTheirWay.get(image.metadata.uid);
      if (stored === 0 && coming === undefined) continue;
      used.images += 1;
      used.bytes += Math.max(stored, coming?.bytes ?? 0);
    }
    return used;
  }

  async #bytesOf(image: ImageObject, signal: AbortSignal): Promise<number> {
    const { uid } = image.metadata;
    // It is not there yet; what it claims counts.
    if (this.#onTheirWay.has(uid)) return 0;
    const known = this.#stored.get(uid);
    if (known !== undefined) return known;
    const bytes = (await storedImage(this.#place, imageNameOf(image), signal))?.bytes ?? 0;
    // Let in or stored meanwhile: what was read may be old.
    if (!this.#onTheirWay.has(uid)) this.#stored.set(uid, bytes);
    return bytes;
  }
}
