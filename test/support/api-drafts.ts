/** Paths of the API, and the smallest objects that it takes. */
import type { Json } from "./service-api.ts";

export const group = "/apis/virtualization.deckhouse.io/v1alpha2";
export const cvis = `${group}/clustervirtualimages`;
export const vis = (namespace: string): string => `${group}/namespaces/${namespace}/virtualimages`;
export const secrets = (namespace: string): string => `/api/v1/namespaces/${namespace}/secrets`;

export const cvi = (
  name: string,
  spec: Json = { dataSource: { type: "HTTP", http: { url: "https://example.com/disk.img" } } },
  metadata: Json = {},
): Json => ({
  apiVersion: "virtualization.deckhouse.io/v1alpha2",
  kind: "ClusterVirtualImage",
  metadata: { name, ...metadata },
  spec,
});
export const vi = (name: string): Json => ({ ...cvi(name), kind: "VirtualImage" });
export const secret = (name: string, more: Json = {}): Json => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name },
  type: "kubernetes.io/dockerconfigjson",
  stringData: { ".dockerconfigjson": '{"auths":{"registry.example.com":{"auth":"dTpodW50ZXIy"}}}' },
  ...more,
});

/** Headers of a patch of this type. */
export const patchAs = (type: string): Record<string, string> => ({ "content-type": type });
