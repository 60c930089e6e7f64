/** Reading back what stands at a tag, whoever wrote it. */
import { mediaTypes } from "../layer/image-config.ts";
import type { CurrentImage } from "./destination.ts";

interface LayerDocument {
  readonly digest?: unknown;
  readonly size?: unknown;
  readonly mediaType?: unknown;
}

/** The parts of an image manifest that are read; an index has neither config nor layers. */
export interface ManifestDocument {
  readonly config?: { readonly digest?: string; readonly size?: number };
  readonly layers?: readonly LayerDocument[];
  readonly annotations?: Readonly<Record<string, unknown>>;
}

/** A parsed manifest and config as a CurrentImage; nothing for an index or anything else that is not an image. */
export function currentImage(manifestDigest: string, manifest: unknown, config: unknown): CurrentImage | undefined {
  const { layers, annotations } = (manifest ?? {}) as ManifestDocument;
  if (!Array.isArray(layers)) return undefined;
  const rootfs = (config as { rootfs?: { diff_ids?: unknown } } | undefined)?.rootfs;
  const labels = (config as { config?: { Labels?: unknown } } | undefined)?.config?.Labels;
  return {
    manifestDigest,
    kind: (manifest as { mediaType?: unknown }).mediaType === mediaTypes.dockerManifest ? "docker" : "oci",
    diffIds: Array.isArray(rootfs?.diff_ids) ? rootfs.diff_ids.map(String) : [],
    layers: (layers as LayerDocument[]).map((layer) => ({
      digest: String(layer.digest),
      size: Number(layer.size),
      mediaType: String(layer.mediaType),
    })),
    labels: strings(labels),
    annotations: strings(annotations),
  };
}

function strings(record: unknown): Record<string, string> {
  if (typeof record !== "object" || record === null) return {};
  return Object.fromEntries(
    Object.entries(record).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}
