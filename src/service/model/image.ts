/**
 * ClusterVirtualImage and VirtualImage of virtualization.deckhouse.io/v1alpha2, as the platform's manual and CRDs have
 * them.
 */
import type { KubeObject } from "./object.ts";

export const imageGroup = "virtualization.deckhouse.io";
export const imageVersion = "v1alpha2";
export const imageApiVersion = `${imageGroup}/${imageVersion}`;

export type ImageKind = "ClusterVirtualImage" | "VirtualImage";

/** Keys as in the CRD. All that are given must match, over the bytes as received. */
export type ImageChecksum = Readonly<
  Partial<Record<"md5" | "sha1" | "sha256" | "sha512" | "streebog256" | "streebog512", string>>
>;

export interface ImageDataSource {
  readonly type: "HTTP" | "ContainerImage" | "ObjectRef" | "Upload";
  readonly http?: { readonly url: string; readonly caBundle?: string; readonly checksum?: ImageChecksum };
  readonly containerImage?: {
    readonly image: string;
    readonly caBundle?: string;
    readonly imagePullSecret?: { readonly name: string; readonly namespace?: string };
  };
  readonly objectRef?: {
    readonly kind: "ClusterVirtualImage" | "VirtualImage" | "VirtualDisk" | "VirtualDiskSnapshot";
    readonly name: string;
    readonly namespace?: string;
  };
  readonly upload?: { readonly checksum?: ImageChecksum };
}

export interface ImageSpec {
  readonly dataSource: ImageDataSource;
  /** VirtualImage only. */
  readonly storage?: "ContainerRegistry" | "Kubernetes" | "PersistentVolumeClaim";
  readonly persistentVolumeClaim?: { readonly storageClassName?: string };
}

export type ImagePhase =
  "Pending" | "WaitForUserUpload" | "Provisioning" | "Ready" | "Failed" | "Terminating" | "ImageLost";

export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration?: number;
}

export interface ImageStatus {
  readonly phase?: ImagePhase;
  /** "28.2%"; missing while nothing has been read. */
  readonly progress?: string;
  /** Texts as "12.3Mi/s"; the `…Bytes` are decimal numbers of bytes per second, as text. */
  readonly downloadSpeed?: {
    readonly avg?: string;
    readonly avgBytes?: string;
    readonly current?: string;
    readonly currentBytes?: string;
  };
  readonly size?: {
    readonly stored?: string;
    readonly storedBytes?: string;
    readonly unpacked?: string;
    readonly unpackedBytes?: string;
  };
  readonly format?: string;
  readonly cdrom?: boolean;
  readonly target?: { readonly registryURL?: string };
  readonly imageUploadURLs?: { readonly external?: string; readonly inCluster?: string };
  readonly conditions?: readonly Condition[];
  readonly observedGeneration?: number;
  /** "sha256:…" of the stored manifest; ours, not in the CRD's table. */
  readonly digest?: string;
}

export interface ImageObject extends KubeObject {
  readonly kind: ImageKind;
  readonly spec: ImageSpec;
  readonly status?: ImageStatus;
}

/** Secrets of type kubernetes.io/dockerconfigjson only. */
export interface SecretObject extends KubeObject {
  readonly kind: "Secret";
  readonly type: string;
  /** Base64. */
  readonly data?: Readonly<Record<string, string>>;
}
