/** The finished image as bytes: what a destination stores. Nothing here depends on the clock or the machine. */
import { createHash } from "node:crypto";

export interface ImageManifest {
  readonly manifest: Uint8Array;
  readonly manifestMediaType: string;
  /** "sha256:…" of `manifest`. */
  readonly manifestDigest: string;
  readonly config: Uint8Array;
  readonly configDigest: string;
  readonly layer: { readonly digest: string; readonly size: number; readonly mediaType: string };
}

export type LayerCompression = "gzip" | "zstd" | "none";

export type ManifestKind = "oci" | "docker";

export interface ImageInput {
  readonly kind: ManifestKind;
  readonly compression: LayerCompression;
  /** "sha256:…" of the layer blob. */
  readonly layerDigest: string;
  /** Bytes of the layer blob. */
  readonly layerSize: number;
  /** "sha256:…" of the uncompressed tar. */
  readonly diffId: string;
  /** What disk/disk.img is: `raw`, `iso`, `qcow2`, … */
  readonly format: string;
  /** Bytes of the disk a virtual machine sees. */
  readonly virtualSize: number;
  /** Bytes of the source as received. */
  readonly sourceSize: number;
  /** What wrote the layer: codec, version, level, frame size. */
  readonly encoderId: string;
  /** More config labels; they win over the ones made here. */
  readonly labels?: Readonly<Record<string, string>>;
  /** More manifest annotations; docker manifests have none. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** RFC 3339; see createdAt(). */
  readonly created?: string;
}

export const mediaTypes = {
  ociManifest: "application/vnd.oci.image.manifest.v1+json",
  ociIndex: "application/vnd.oci.image.index.v1+json",
  ociConfig: "application/vnd.oci.image.config.v1+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerList: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerConfig: "application/vnd.docker.container.image.v1+json",
} as const;

/** Our own keys, on the config's labels in both kinds and on an OCI manifest's annotations too. */
export const ownKeys = {
  encoder: "io.deckhouse.dvcr.encoder",
  compression: "io.deckhouse.dvcr.compression",
  format: "io.deckhouse.dvcr.format",
  sourceSize: "io.deckhouse.dvcr.source-size",
} as const;

/**
 * The docker type for zstd is the plain one: containerd before 2.0 does not know `…diff.tar.zstd`, but looks at the
 * first bytes of a layer of the plain type, as the platform's own readers do with any.
 */
const layerMediaTypes: Record<ManifestKind, Record<LayerCompression, string>> = {
  oci: {
    gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
    zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
    none: "application/vnd.oci.image.layer.v1.tar",
  },
  docker: {
    gzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    zstd: "application/vnd.docker.image.rootfs.diff.tar",
    none: "application/vnd.docker.image.rootfs.diff.tar",
  },
};

const author = "DVCR client";

/** Media type of a layer. */
export function layerMediaType(kind: ManifestKind, compression: LayerCompression): string {
  return layerMediaTypes[kind][compression];
}

/**
 * The creation time an image carries: SOURCE_DATE_EPOCH (seconds) where it is given, else the epoch itself.
 * https://reproducible-builds.org/specs/source-date-epoch/
 */
export function createdAt(sourceDateEpoch = 0): string {
  return new Date(sourceDateEpoch * 1000).toISOString().replace(".000Z", "Z");
}

/** "sha256:…" of bytes in hand. */
export function sha256Digest(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** Config and manifest of the one-layer image around a finished layer. The same input gives the same bytes. */
export function buildImage(input: ImageInput): ImageManifest {
  const created = input.created ?? createdAt();
  const own = {
    [ownKeys.compression]: input.compression,
    [ownKeys.encoder]: input.encoderId,
    [ownKeys.format]: input.format,
    [ownKeys.sourceSize]: String(input.sourceSize),
  };
  const config = jsonBytes({
    architecture: "amd64",
    author,
    config: { Labels: sorted({ ...imageLabels(input), ...own, ...input.labels }), WorkingDir: "/" },
    created,
    history: [{ author, comment: "streamed from the datasource", created }],
    os: "linux",
    rootfs: { diff_ids: [input.diffId], type: "layers" },
  });
  const configDigest = sha256Digest(config);
  const layer = {
    digest: input.layerDigest,
    mediaType: layerMediaType(input.kind, input.compression),
    size: input.layerSize,
  };
  const manifestMediaType = input.kind === "oci" ? mediaTypes.ociManifest : mediaTypes.dockerManifest;
  const configMediaType = input.kind === "oci" ? mediaTypes.ociConfig : mediaTypes.dockerConfig;
  const manifest = jsonBytes({
    ...(input.kind === "oci" ? { annotations: sorted({ ...own, ...input.annotations }) } : {}),
    config: { digest: configDigest, mediaType: configMediaType, size: config.byteLength },
    layers: [layer],
    mediaType: manifestMediaType,
    schemaVersion: 2,
  });
  return { manifest, manifestMediaType, manifestDigest: sha256Digest(manifest), config, configDigest, layer };
}

/** The names under which the platform's images have always told their size and format. */
function imageLabels(input: ImageInput): Record<string, string> {
  return {
    "erofs-compatible-layers": "true",
    "source-image-format": input.format,
    "source-image-size": String(input.layerSize),
    "source-image-virtual-size": String(input.virtualSize),
  };
}

function sorted(record: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function jsonBytes(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
