import { makeSource } from "../endpoints/sources.ts";
import type { PvcImporterConfig } from "../config/pvc-importer-config.ts";
import type { Logger } from "../log/logger.ts";
import { tracked } from "../metrics/tracked-import.ts";
import { exportDisk } from "../pipeline/export-disk.ts";
import type { ImportLimits } from "../pipeline/import-image.ts";
import { inspectionMemory } from "../pipeline/import-memory.ts";
import { podRetryPolicy } from "../process/pod-destination.ts";
import type { Source } from "../source/source.ts";
import type { WriteDisk } from "./run-pvc-importer.ts";
import { findVolume } from "./volume.ts";

/** Streams the stored image to the volume: one pass, and no scratch space where the image's layout allows. */
export const writeDisk: WriteDisk = async (config, { log, tracker, signal }) => {
  const volume = await findVolume(config);
  log.info({ volume: volume.target.description, mode: volume.mode }, "volume found");
  const running = exportDisk(
    registryImage(config, log),
    volume.target,
    {
      format: volume.format,
      compression: "none",
      ...(volume.mode === "Filesystem" && config.imageSize !== undefined ? { size: config.imageSize } : {}),
      sizeIsLimit: false,
      checksums: [],
      verify: config.verify,
      ...(config.sourceFormat === undefined ? {} : { sourceFormat: config.sourceFormat }),
      allowNested: config.allowNested,
      limits: limitsOf(config),
      scratchDirectory: config.scratchDir,
      memory: inspectionMemory,
      onImage: (image) => {
        volume.checkRoom(image);
      },
    },
    signal,
  );
  try {
    return await tracked(running, tracker, log);
  } catch (error) {
    throw volume.explain(error);
  }
};

function registryImage(config: PvcImporterConfig, log: Logger): Source {
  const { accessKeyId: user, secretKey: password, certDir } = config;
  return makeSource(
    {
      kind: "registry",
      image: config.endpoint,
      credentials: user === undefined || password === undefined ? {} : { userPassword: `${user}:${password}` },
    },
    {
      tls: { verify: !config.insecureTls, ...(certDir === undefined ? {} : { certDirectory: certDir }) },
      proxies: config,
      retry: podRetryPolicy(config),
      // The name comes from the controller and is right: a registry that is not there is being started anew.
      firstContactMs: config.retrySeconds * 1000,
      allowPrivateRedirects: config.allowPrivateRedirects,
      limits: limitsOf(config),
      log,
    },
  );
}

const limitsOf = (config: PvcImporterConfig): ImportLimits => ({
  maxVirtualSize: config.maxVirtualSize,
  maxScratch: config.scratchLimit,
  maxDecoderMemory: config.maxDecoderMemory,
});
