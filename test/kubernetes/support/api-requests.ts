/** Requests to two API servers that must answer alike, and what they are made of. */
export type Json = Record<string, unknown>;

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly type?: string;
  readonly accept?: string;
}

export type Answer = readonly [code: number, reason?: string];

/** `request` is made of the object `live` as that server holds it. */
export interface Row {
  readonly what: string;
  readonly request: Request | ((live: Json) => Request);
  /** What the service answers where it differs on purpose, and why. */
  readonly differs?: { readonly ours: Answer; readonly why: string };
}

export const group = "/apis/virtualization.deckhouse.io/v1alpha2";
export const cvis = `${group}/clustervirtualimages`;
export const vis = `${group}/namespaces/default/virtualimages`;
export const secrets = "/api/v1/namespaces/default/secrets";
/** The object that rows are about; it waits for its upload. */
export const liveName = "live";
export const dry = "dryRun=All";

export const merge = "application/merge-patch+json";
export const jsonPatch = "application/json-patch+json";
export const strategic = "application/strategic-merge-patch+json";
export const applyYaml = "application/apply-patch+yaml";

export const cvi = (name: string | undefined, metadata: Json = {}, more: Json = {}): Json => ({
  apiVersion: "virtualization.deckhouse.io/v1alpha2",
  kind: "ClusterVirtualImage",
  metadata: { ...(name === undefined ? {} : { name }), ...metadata },
  spec: { dataSource: { type: "Upload" } },
  ...more,
});

export const vi = (name: string, spec: Json = {}, more: Json = {}): Json => ({
  ...cvi(name),
  kind: "VirtualImage",
  spec: { dataSource: { type: "Upload" }, ...spec },
  ...more,
});

export const secret = (name: string, metadata: Json = {}, more: Json = {}): Json => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name, ...metadata },
  type: "kubernetes.io/dockerconfigjson",
  stringData: { ".dockerconfigjson": '{"auths":{}}' },
  ...more,
});

export const owner = { apiVersion: "v1", kind: "Namespace", name: "default", uid: "u-1" };
export const dataSource = (source: Json): Json => ({ spec: { dataSource: source } });
export const metadataOf = (live: Json): Json => live["metadata"] as Json;

export const post = (what: string, body: unknown, more: Partial<Row> = {}, path = cvis, query = ""): Row => ({
  what: `POST ${what}`,
  request: { method: "POST", path: `${path}?${dry}${query}`, body },
  ...more,
});

export const put = (what: string, change: (live: Json) => unknown, more: Partial<Row> = {}, suffix = ""): Row => ({
  what: `PUT ${what}`,
  request: (live) => ({ method: "PUT", path: `${cvis}/${liveName}${suffix}?${dry}`, body: change(live) }),
  ...more,
});

export const patch = (what: string, type: string, body: unknown, more: Partial<Row> = {}, suffix = ""): Row => ({
  what: `PATCH ${what}`,
  request: {
    method: "PATCH",
    path: `${cvis}/${liveName}${suffix}${suffix.includes("?") ? "&" : "?"}${dry}`,
    body,
    type,
  },
  ...more,
});

export const send = (method: string, path: string, body?: unknown, more: Partial<Row> = {}): Row => ({
  what: `${method} ${path}${body === undefined ? "" : ` ${JSON.stringify(body)}`}`,
  request: { method, path, ...(body === undefined ? {} : { body }) },
  ...more,
});

/** Differences on purpose. */
export const because = (why: string, ...ours: Answer): Partial<Row> => ({ differs: { ours, why } });
export const methodKnown = because(
  "405 says what is wrong; only custom resources are answered otherwise, and otherwise each",
  405,
  "MethodNotAllowed",
);
export const noFault = because("a client's mistake is no fault of the server", 400, "BadRequest");
export const versionGone = because("a version that is none is not the current one", 409, "Conflict");
export const alwaysStatus = because("a path that is not there is a Status too, and no plain text", 404, "NotFound");
export const probePath = because("probes that end in a slash are answered", 200);

export const withMeta = (live: Json, change: Json): Json => ({ ...live, metadata: { ...metadataOf(live), ...change } });
