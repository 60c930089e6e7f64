/** What keeps a new import from beginning though its source is there. */
import { DvcrError, toDvcrError } from "../../errors/dvcr-error.ts";
import type { ImagePlace } from "../images/image-place.ts";
import type { ImageObject } from "../model/image.ts";
import { formatSize } from "../model/quantities.ts";
import type { ProvisioningGate } from "./gate.ts";
import type { NamespaceQuota } from "./quota.ts";

export interface AdmissionLimits {
  /** Share of the store's capacity, 0 to 1, from which on nothing new is taken. */
  readonly nearlyFull: number;
}

/** Why an image has to wait. */
export interface Refusal {
  readonly reason: "ProvisioningPostponed" | "ProvisioningNotStarted" | "QuotaExceeded" | "StorageClassNotReady";
  readonly message: string;
  /** Milliseconds after which it is looked at again; missing: only when the object changes. */
  readonly again?: number;
}

export interface AdmissionDeps {
  readonly place: ImagePlace;
  readonly quota: NamespaceQuota;
  readonly gate?: ProvisioningGate;
  /** Read at each use: limits can be raised while the service runs. */
  readonly limits: () => AdmissionLimits;
}

const againMs = 30_000;

/** Nothing where the import of `image` may begin now; it then counts in its namespace's quota. */
export async function refusalOf(
  image: ImageObject,
  deps: AdmissionDeps,
  signal: AbortSignal,
): Promise<Refusal | undefined> {
  if (image.spec.storage === "PersistentVolumeClaim" || image.spec.storage === "Kubernetes") {
    return {
      reason: "StorageClassNotReady",
      message:
        "this service has no volumes: images are kept in the store for container images; use storage ContainerRegistry",
    };
  }
  const limits = deps.limits();
  return (await placeRefusal(deps, limits)) ?? gateRefusal(deps) ?? (await quotaRefusal(image, deps, signal));
}

function gateRefusal({ gate }: AdmissionDeps): Refusal | undefined {
  if (gate?.isOpen() !== false) return undefined;
  return {
    reason: "ProvisioningPostponed",
    message: "garbage collection is running; the import begins when it is over",
    again: againMs,
  };
}

async function placeRefusal({ place }: AdmissionDeps, { nearlyFull }: AdmissionLimits): Promise<Refusal | undefined> {
  const { capacity, used, free } = await place.usage();
  if (used < capacity * nearlyFull) return undefined;
  const error = new DvcrError(
    "E_PLACE_FULL",
    `${formatSize(used)} of ${formatSize(capacity)} are used, ${formatSize(free)} free`,
  );
  return { reason: "ProvisioningNotStarted", message: error.toLine(), again: againMs };
}

async function quotaRefusal(
  image: ImageObject,
  { quota }: AdmissionDeps,
  signal: AbortSignal,
): Promise<Refusal | undefined> {
  try {
    await quota.enter(image, signal);
    return undefined;
  } catch (thrown) {
    const error = toDvcrError(thrown);
    if (error.code !== "E_QUOTA") throw error;
    return { reason: "QuotaExceeded", message: error.toLine(), again: againMs };
  }
}
