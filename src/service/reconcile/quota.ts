/** What the VirtualImages of each namespace may take: those that are stored, and those on their way there. */
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { ImageObject } from "../model/image.ts";
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

/** Images count from when they may begin, and with their size from just before they are stored. */
export class NamespaceQuota {
  readonly #store: ResourceStore;
  readonly #limits: () => QuotaLimits;
  /** By uid. */
  readonly #onTheirWay = new Map<string, OnItsWay>();

  /** `limits` is read at each use: they can be raised while the service runs. */
  constructor(store: ResourceStore, limits: () => QuotaLimits) {
    this.#store = store;
    this.#limits = limits;
  }

  /** Lets the import of `image` begin; it counts until leave(). Throws E_QUOTA. */
  async enter({ metadata: { namespace, uid } }: ImageObject): Promise<void> {
    if (namespace === undefined) return;
    const { images, bytes } = await this.#usedBesides(uid, namespace);
    const { namespaceBytes, namespaceImages } = this.#limits();
    if (images >= namespaceImages || bytes >= namespaceBytes) {
      const most = images >= namespaceImages ? `${namespaceImages} images` : formatSize(namespaceBytes);
      throw new DvcrError(
        "E_QUOTA",
        `namespace ${namespace} may hold ${most} and holds ${images} images of ${formatSize(bytes)}`,
      );
    }
    // No wait since the count, so that of several that come together each sees those before it.
    this.#onTheirWay.set(uid, { namespace, bytes: 0 });
  }

  /** The image, which was let in, is about to be stored and to take `bytes`. Throws E_QUOTA_EXCEEDED where they do not fit. */
  async claim(uid: string, bytes: number): Promise<void> {
    const own = this.#onTheirWay.get(uid);
    if (own === undefined) return;
    const used = (await this.#usedBesides(uid, own.namespace)).bytes;
    const { namespaceBytes } = this.#limits();
    if (used + bytes > namespaceBytes) {
      throw new DvcrError(
        "E_QUOTA_EXCEEDED",
        `the image takes ${formatSize(bytes)}; namespace ${own.namespace} may hold ${formatSize(namespaceBytes)} and holds ${formatSize(used)} without it`,
      );
    }
    own.bytes = bytes;
  }

  /** The image is stored, and counted as such, or it is not on its way any more. */
  leave(uid: string): void {
    this.#onTheirWay.delete(uid);
  }

  async #usedBesides(uid: string, namespace: string): Promise<{ readonly images: number; readonly bytes: number }> {
    const { namespaceBytes, namespaceImages } = this.#limits();
    if (namespaceBytes === Infinity && namespaceImages === Infinity) return { images: 0, bytes: 0 };
    const { items } = await this.#store.list<ImageObject>("virtualimages", { namespace });
    const taken = items
      .filter(({ metadata }) => metadata.uid !== uid)
      .map((one) => this.#takenBy(one))
      .filter((bytes) => bytes !== undefined);
    return { images: taken.length, bytes: taken.reduce((sum, bytes) => sum + bytes, 0) };
  }

  /** Bytes; nothing for an image that does not count. */
  #takenBy({ metadata, status }: ImageObject): number | undefined {
    return status?.phase === "Ready"
      ? Number(status.size?.storedBytes ?? 0)
      : this.#onTheirWay.get(metadata.uid)?.bytes;
  }
}
