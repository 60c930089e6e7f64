/** What a step of an image works with. */
import type { Logger } from "../../log/logger.ts";
import type { Executor } from "../executor/executor.ts";
import type { ImagePlace } from "../images/image-place.ts";
import type { ObjectKey } from "../model/object.ts";
import type { ResourceStore } from "../store/store.ts";
import type { AdmissionLimits } from "./admission.ts";
import type { ProvisioningGate } from "./gate.ts";
import type { NamespaceQuota } from "./quota.ts";

export const imageFinalizer = "virtualization.deckhouse.io/image-cleanup";

export interface UploadUrls {
  /** By the public address, where one is configured, else by the one that is listened on. */
  readonly external: string;
  readonly inCluster: string;
}

export interface ImageWorkDeps {
  readonly store: ResourceStore;
  readonly executor: Executor;
  readonly place: ImagePlace;
  readonly gate?: ProvisioningGate;
  readonly quota: NamespaceQuota;
  readonly limits: () => AdmissionLimits;
  readonly uploadUrls: (token: string) => UploadUrls;
  /** Milliseconds that an upload may take to begin. */
  readonly uploadTimeoutMs: number;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** What one step may ask of the queue. */
export interface WorkContext {
  readonly resource: "clustervirtualimages" | "virtualimages";
  /** The step has to end: a registry may be waited for, for minutes. */
  readonly signal: AbortSignal;
  again(): void;
  againAfter(milliseconds: number): void;
  /** Comes back when the object changes. */
  waitFor(key: ObjectKey): void;
  /** The image is gone, and everything of it. */
  gone(): void;
}
