import type { ServeConfig } from "../../config/serve-config.ts";
import { logRetries, logUploads } from "../../log/events.ts";
import type { Logger } from "../../log/logger.ts";
import { defaultRetryPolicy } from "../../retry/retry.ts";
import type { BlobStore } from "../images/blob-store.ts";
import { openEmbedded, type StoredData } from "../images/open-embedded.ts";
import type { ImagePlace } from "../images/image-place.ts";
import { RegistryPlace } from "../images/registry-place.ts";

/** The place for images that the configuration names, and how its limit is changed while it is used. */
export interface OpenedPlace {
  readonly place: ImagePlace;
  /** The embedded store's, to be served at /v2/; a registry is asked itself. */
  readonly blobs?: BlobStore;
  /** Bytes; undefined: as much as there is. */
  readonly setLimit: (limit: number | undefined) => void;
}

/**
 * The named registry, or the layout in the data directory; `host` is what its images' names begin with.
 *
 * @throws DvcrError E_LAYOUT_IO, E_STORE_LOST.
 */
export async function openPlace(
  config: ServeConfig,
  data: StoredData,
  host: () => string,
  log: Logger,
): Promise<OpenedPlace> {
  if (config.registry !== undefined)
    return { place: registryPlace(config, config.registry, log), setLimit: () => undefined };
  const place = await openEmbedded(config, data, { host });
  return {
    place,
    blobs: place.blobs,
    setLimit: (limit) => {
      place.setLimit(limit);
    },
  };
}

export function registryPlace(config: ServeConfig, host: string, log: Logger): RegistryPlace {
  const { registryAuthConfig: authFile, registryCaBundle: certDirectory } = config;
  return new RegistryPlace({
    host,
    access: {
      tls: { verify: !config.registryInsecureTls, ...(certDirectory === undefined ? {} : { certDirectory }) },
      credentials: authFile === undefined ? {} : { authFile },
      retry: { ...defaultRetryPolicy, deadlineMs: config.retrySeconds * 1000 },
      allowPrivateRedirects: config.allowPrivateRedirects,
      onRetry: logRetries(log, "registry"),
    },
    upload: { abortGraceMs: config.stopSeconds * 1000, ...logUploads(log) },
    onKept: ({ repository, tag }) => {
      log.warn(
        { image: `${repository}:${tag}` },
        "the registry does not let images be removed; its garbage collection will",
      );
    },
  });
}
