/** From spec.dataSource to what the executor is asked to import, or to what is missing for that. */
import { X509Certificate } from "node:crypto";
import type { JobSource } from "../executor/executor.ts";
import { dockerConfigKey } from "../model/core-schema.ts";
import type { ImageChecksum, ImageObject, ImageStatus, SecretObject } from "../model/image.ts";
import { imageNameOf } from "../model/names.ts";
import type { ObjectKey } from "../model/object.ts";
import type { ResourceStore } from "../store/store.ts";
import type { Checksum } from "../../config/kinds.ts";

export type Resolved =
  | { readonly source: JobSource; readonly checksums: readonly Checksum[]; readonly copied?: CopiedImage }
  /** What the data source lacks; looked at again when `waitsFor` changes. */
  | { readonly reason: string; readonly message: string; readonly waitsFor?: ObjectKey };

/** The stored image that is copied: its resource, and its status, which holds for the copy too. */
export interface CopiedImage {
  readonly key: ObjectKey;
  readonly status: ImageStatus;
}

/** Finds everything that the image's data source refers to. `uploadToken` is called for an upload. */
export async function resolveDataSource(
  image: ImageObject,
  store: ResourceStore,
  uploadToken: () => string,
): Promise<Resolved> {
  const { dataSource } = image.spec;
  const { http, containerImage, objectRef, upload } = dataSource;
  switch (dataSource.type) {
    case "HTTP": {
      if (http === undefined) return invalid("http");
      const ca = readBundle(http.caBundle);
      if ("reason" in ca) return ca;
      return { source: { type: "http", url: http.url, ...ca }, checksums: checksumsOf(http.checksum) };
    }
    case "ContainerImage": {
      if (containerImage === undefined) return invalid("containerImage");
      const ca = readBundle(containerImage.caBundle);
      if ("reason" in ca) return ca;
      const secret = await pullSecret(image, store);
      if ("reason" in secret) return secret;
      return { source: { type: "registry", image: containerImage.image, ...ca, ...secret }, checksums: [] };
    }
    case "ObjectRef":
      return objectRef === undefined ? invalid("objectRef") : await referred(image, objectRef, store);
    case "Upload":
      return { source: { type: "upload", token: uploadToken() }, checksums: checksumsOf(upload?.checksum) };
  }
}

const invalid = (member: string): Resolved => ({
  reason: "DatasourceNotReady",
  message: `spec.dataSource.${member} is missing`,
});

function checksumsOf(checksum: ImageChecksum = {}): Checksum[] {
  return Object.entries(checksum).map(([algorithm, expected]) => ({ algorithm, expected: expected.toLowerCase() }));
}

const certificate = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

function readBundle(
  bundle: string | undefined,
): { readonly caBundle?: string } | { readonly reason: string; readonly message: string } {
  if (bundle === undefined || bundle === "") return {};
  const certificates = Buffer.from(bundle, "base64").toString("latin1").match(certificate) ?? [];
  const problem = (why: string) => ({ reason: "CABundleNotValid", message: `spec.dataSource: the caBundle ${why}` });
  if (certificates.length === 0) return problem("holds no PEM certificate");
  try {
    for (const one of certificates) new X509Certificate(one);
  } catch {
    return problem("holds a certificate that cannot be read");
  }
  return { caBundle: certificates.join("\n") };
}

async function pullSecret(
  image: ImageObject,
  store: ResourceStore,
): Promise<
  | { readonly dockerConfig?: string }
  | { readonly reason: string; readonly message: string; readonly waitsFor?: ObjectKey }
> {
  const { name = "", namespace } = image.spec.dataSource.containerImage?.imagePullSecret ?? {};
  if (name === "") return {};
  const key: ObjectKey = { resource: "secrets", namespace: namespace ?? image.metadata.namespace ?? "default", name };
  const secret = await store.get<SecretObject>(key);
  const encoded = secret?.data?.[dockerConfigKey];
  if (encoded !== undefined) return { dockerConfig: Buffer.from(encoded, "base64").toString("utf8") };
  return {
    reason: "ContainerRegistrySecretNotFound",
    message: `there is no Secret ${name} of type kubernetes.io/dockerconfigjson in namespace ${key.namespace}`,
    waitsFor: key,
  };
}

type ObjectRef = NonNullable<ImageObject["spec"]["dataSource"]["objectRef"]>;

async function referred(
  image: ImageObject,
  { kind, name, namespace }: ObjectRef,
  store: ResourceStore,
): Promise<Resolved> {
  if (kind === "VirtualDisk" || kind === "VirtualDiskSnapshot") {
    return {
      reason: `${kind}NotReady`,
      message:
        `${kind} ${name}: this service keeps images only; the platform's virtualization module has ` +
        "disks and snapshots",
    };
  }
  const isCluster = kind === "ClusterVirtualImage";
  const reason = isCluster ? "ClusterImageNotReady" : "ImageNotReady";
  const key: ObjectKey = isCluster
    ? { resource: "clustervirtualimages", namespace: "", name }
    : { resource: "virtualimages", namespace: image.metadata.namespace ?? namespace ?? "", name };
  const notReady = (why: string): Resolved => ({
    reason,
    message: `${kind} ${isCluster ? name : `${key.namespace}/${name}`} ${why}`,
    waitsFor: key,
  });
  const found = await store.get<ImageObject>(key);
  if (found === undefined) return notReady("does not exist");
  if (found.metadata.uid === image.metadata.uid) return notReady("is this image itself");
  if (found.metadata.deletionTimestamp !== undefined) return notReady("is being deleted");
  if (found.status?.phase !== "Ready")
    return notReady(`is not ready: its phase is ${found.status?.phase ?? "Pending"}`);
  const bytes = Number(found.status.size?.storedBytes ?? 0);
  return {
    source: { type: "copy", from: imageNameOf(found), bytes },
    checksums: [],
    copied: { key, status: found.status },
  };
}
