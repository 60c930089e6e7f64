/** What keeps a new import from beginning though its source is there. */
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { Executor } from "../executor/executor.ts";
import type { ImagePlace } from "../images/image-place.ts";
import type { ImageObject } from "../model/image.ts";
import { formatSize } from "../model/quantities.ts";
import type { ResourceStore } from "../store/store.ts";
import type { ProvisioningGate } from "./gate.ts";

export interface AdmissionLimits {
  /** Share of the store's capacity, 0 to 1, from which on nothing new is taken. */
  readonly nearlyFull: number;
  /** Of the VirtualImages of one namespace. */
  readonly namespaceBytes: number;
  readonly namespaceImages: number;
}

/** Why an image has to wait. */
export interface Refusal {
  readonly reason: "ProvisioningPostponed" | "ProvisioningNotStarted" | "QuotaExceeded" | "StorageClassNotReady";
  readonly message: string;
  /** Milliseconds after which it is looked at again; missing: only when the object changes. */
  readonly again?: number;
}

export interface AdmissionDeps {
  readonly store: ResourceStore;
  readonly place: ImagePlace;
  readonly executor: Executor;
  readonly gate?: ProvisioningGate;
  /** Read at each use: limits can be raised while the service runs. */
  readonly limits: () => AdmissionLimits;
}

const againMs = 30_000;

/** Nothing where the import of `image` may begin now. */
export async function refusalOf(image: ImageObject, deps: AdmissionDeps): Promise<Refusal | undefined> {
  if (image.spec.storage === "PersistentVolumeClaim") {
    return { reason: "StorageClassNotReady", message: "this service has no volumes: images are kept in the store for container images; use storage ContainerRegistry" };
  }
  const limits = deps.limits();
  return (await placeRefusal(deps, limits)) ?? (await quotaRefusal(image, deps, limits)) ?? gateRefusal(deps);
}

function gateRefusal({ gate }: AdmissionDeps): Refusal | undefined {
  if (gate?.isOpen() !== false) return undefined;
  return { reason: "ProvisioningPostponed", message: "garbage collection is running; the import begins when it is over", again: againMs };
}

async function placeRefusal({ place }: AdmissionDeps, { nearlyFull }: AdmissionLimits): Promise<Refusal | undefined> {
  const { capacity, used, free } = await place.usage();
  if (used < capacity * nearlyFull) return undefined;
  const error = new DvcrError("E_PLACE_FULL", `${formatSize(used)} of ${formatSize(capacity)} are used, ${formatSize(free)} free`);
  return { reason: "ProvisioningNotStarted", message: error.toLine(), again: againMs };
}

async function quotaRefusal(image: ImageObject, { store, executor }: AdmissionDeps, limits: AdmissionLimits): Promise<Refusal | undefined> {
  const { namespace, uid } = image.metadata;
  if (namespace === undefined || (limits.namespaceBytes === Infinity && limits.namespaceImages === Infinity)) return undefined;
  const { items } = await store.list<ImageObject>("virtualimages", { namespace });
  const others = items.filter((one) => one.metadata.uid !== uid && (one.status?.phase === "Ready" || executor.find(one.metadata.uid) !== undefined));
  const bytes = others.reduce((sum, { status }) => sum + Number(status?.size?.storedBytes ?? 0), 0);
  if (others.length < limits.namespaceImages && bytes < limits.namespaceBytes) return undefined;
  const most = others.length >= limits.namespaceImages ? `${limits.namespaceImages} images` : formatSize(limits.namespaceBytes);
  const error = new DvcrError("E_QUOTA", `namespace ${namespace} may hold ${most} and holds ${others.length} images of ${formatSize(bytes)}`);
  return { reason: "QuotaExceeded", message: error.toLine(), again: againMs };
}
