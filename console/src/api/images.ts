/** The API's resources as the console uses them. */
import { imageApiVersion } from "../../../src/service/model/image.ts";
import type { ImageKind, ImageObject, ImageSpec } from "../../../src/service/model/image.ts";
import type { KubeObject } from "../../../src/service/model/object.ts";
import { request } from "./request.ts";

/** Which image: its kind tells whether `namespace` means anything. */
export interface ImageKey {
  readonly kind: ImageKind;
  readonly namespace: string;
  readonly name: string;
}

/** What a client sends to create an object. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [field: string]: unknown;
}

/** A core/v1 Event, as far as the console shows it. */
export interface EventObject extends KubeObject {
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly count?: number;
  readonly firstTimestamp?: string;
  readonly lastTimestamp?: string;
}

interface Items<T> {
  readonly items: readonly T[];
}

const images = `/apis/${imageApiVersion}`;
const core = "/api/v1";

/** The API's path of all images of `kind`, or of those in one namespace. */
export function collectionPath(kind: ImageKind, namespace = ""): string {
  if (kind === "ClusterVirtualImage") return `${images}/clustervirtualimages`;
  return namespace === ""
    ? `${images}/virtualimages`
    : `${images}/namespaces/${encodeURIComponent(namespace)}/virtualimages`;
}

export const keyOf = ({ kind, metadata }: ImageObject): ImageKey => ({
  kind,
  namespace: metadata.namespace ?? "",
  name: metadata.name,
});

/** Every image of both kinds, or why they cannot be listed. */
export async function listImages(kind: ImageKind): Promise<readonly ImageObject[]> {
  return (await request<Items<ImageObject>>("GET", collectionPath(kind))).items;
}

export function imageManifest({ kind, namespace, name }: ImageKey, spec: ImageSpec): Manifest {
  const metadata = kind === "VirtualImage" ? { name, namespace } : { name };
  return { apiVersion: imageApiVersion, kind, metadata, spec };
}

/** Throws ApiError, with `fields` where the manifest is refused. */
export async function createImage(key: ImageKey, spec: ImageSpec): Promise<ImageObject> {
  return await request<ImageObject>("POST", collectionPath(key.kind, key.namespace), {
    body: imageManifest(key, spec),
  });
}

/** Asks for the deletion of exactly the object with `uid`: one that has come in its place is left alone. */
export async function deleteImage({ kind, namespace, name }: ImageKey, uid: string): Promise<void> {
  const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid } };
  await request("DELETE", `${collectionPath(kind, namespace)}/${encodeURIComponent(name)}`, { body });
}

/** Events of one object, newest first. */
export async function eventsOf({ kind, namespace, name }: ImageKey, uid: string): Promise<readonly EventObject[]> {
  const query = { fieldSelector: `involvedObject.kind=${kind},involvedObject.name=${name},involvedObject.uid=${uid}` };
  const of = namespace === "" ? "default" : namespace;
  const { items } = await request<Items<EventObject>>("GET", `${core}/namespaces/${encodeURIComponent(of)}/events`, {
    query,
  });
  return items.toSorted((a, b) => eventTime(b).localeCompare(eventTime(a)));
}

/** When an event was last seen, RFC 3339. */
export const eventTime = (event: EventObject): string =>
  event.lastTimestamp ?? event.firstTimestamp ?? event.metadata.creationTimestamp;

/** Names of all namespaces, sorted. */
export async function namespaces(): Promise<readonly string[]> {
  const { items } = await request<Items<KubeObject>>("GET", `${core}/namespaces`);
  return items.map(({ metadata }) => metadata.name).sort();
}

export interface RegistryLogin {
  readonly registry: string;
  readonly user: string;
  readonly password: string;
}

/** Creates a secret with the login to one registry. Throws ApiError. */
export async function createPullSecret(
  namespace: string,
  name: string,
  { registry, user, password }: RegistryLogin,
): Promise<void> {
  const config = JSON.stringify({ auths: { [registry]: { username: user, password } } });
  const body = {
    apiVersion: "v1",
    kind: "Secret",
    type: "kubernetes.io/dockerconfigjson",
    metadata: { name, namespace },
    data: { ".dockerconfigjson": toBase64(config) },
  };
  await request("POST", `${core}/namespaces/${encodeURIComponent(namespace)}/secrets`, { body });
}

/** Base64 of the text's UTF-8. */
export function toBase64(text: string): string {
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));
}
