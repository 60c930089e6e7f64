import { withDefault, optional } from "./field.ts";
import { IMAGE_FORMATS, imageDefaults, LAYER_COMPRESSIONS, MANIFEST_KINDS, SOURCE_FORMATS } from "./image-defaults.ts";
import { bytes, choice, flag, integer, path, port, seconds, text } from "./kinds.ts";

/** Needed before anything else can be reported; read leniently by readEarly(), then strictly with the rest. */
export const earlyFields = {
  ownerUid: withDefault("OWNER_UID", text, "", {
    description: "UID of the resource the image is for; the only label of the three progress gauges.",
  }),
  metricsPort: withDefault("DVCR_METRICS_PORT", port, 8443, {
    description: "Port of HTTPS /metrics. 0 lets the system choose.",
  }),
  terminationLog: withDefault("DVCR_TERMINATION_LOG", path, "/dev/termination-log", {
    description: "File that receives the result as one line of JSON.",
  }),
  verbosity: withDefault("DVCR_VERBOSITY", integer(0, 10, "a level"), 3, {
    flag: "v",
    description:
      "How much is logged: up to 1 warnings, up to 3 what a person wants to know, 4 and 5 debug, " +
      "more traces everything.",
  }),
};

/** How faults and redirects of the network are dealt with; the same in both processes. */
export const patienceFields = {
  allowPrivateRedirects: withDefault("DVCR_ALLOW_PRIVATE_REDIRECTS", flag, false, {
    description:
      "Follow a registry's redirects to private addresses also where the registry itself is on a " +
      "public one. To those of its own kind of network they are followed anyway.",
  }),
  retrySeconds: withDefault("DVCR_RETRY_SECONDS", seconds, 17 * 60, {
    description:
      "How long a registry or source that is away or read-only is waited for, in seconds, before " +
      "the import fails. The default covers the registry's garbage collection.",
  }),
  stopSeconds: withDefault("DVCR_STOP_SECONDS", seconds, 25, {
    description:
      "How long, in seconds, the removal of an unfinished upload from the registry is tried " +
      "after the signal to stop. A little less than the pod's grace period.",
  }),
};

/** How web servers that images come from are dealt with. */
export const webSourceFields = {
  firstByteSeconds: withDefault("DVCR_FIRST_BYTE_TIMEOUT", seconds, 60, {
    description:
      "How long, in seconds, a web server that has taken the request for a file may take until the first byte of its " +
      "answer. It is not asked a second time.",
  }),
};

/** What becomes of the image; the same in both processes. */
export const imageFields = {
  imageFormat: withDefault("DVCR_IMAGE_FORMAT", choice(...IMAGE_FORMATS), imageDefaults.imageFormat, {
    description: "What /disk/disk.img holds: the disk's own bytes, or the source file as it is, unpacked.",
  }),
  layerCompression: withDefault(
    "DVCR_LAYER_COMPRESSION",
    choice(...LAYER_COMPRESSIONS),
    imageDefaults.layerCompression,
    {
      description: "Compression of the layer.",
    },
  ),
  manifestKind: withDefault("DVCR_MANIFEST_KIND", choice(...MANIFEST_KINDS), imageDefaults.manifestKind, {
    description: "Media types of manifest, config and layer.",
  }),
  sourceFormat: optional("DVCR_SOURCE_FORMAT", choice(...SOURCE_FORMATS), {
    description: "Declared format of the source; content of another format is refused.",
  }),
  allowNested: withDefault("DVCR_ALLOW_NESTED", flag, false, {
    description: "Accept a disk whose content is itself a disk image.",
  }),
  maxVirtualSize: withDefault("DVCR_MAX_VIRTUAL_SIZE", bytes, imageDefaults.maxVirtualSize, {
    description: "Largest virtual disk that is accepted.",
  }),
  maxDecoderMemory: withDefault("DVCR_MAX_DECODER_MEMORY", bytes, imageDefaults.maxDecoderMemory, {
    description: "Most memory that unpacking the source may need.",
  }),
  scratchLimit: withDefault("DVCR_SCRATCH_LIMIT", bytes, imageDefaults.scratchLimit, {
    description: "Most bytes that one import may hold in scratch files. 0 allows only images in order.",
  }),
  scratchDir: withDefault("DVCR_SCRATCH_DIR", path, "/tmp", {
    description: "Directory of the scratch files.",
  }),
  sourceDateEpoch: optional("SOURCE_DATE_EPOCH", integer(0, 253_402_300_799, "seconds since 1970"), {
    description:
      "Creation time that the image's config carries. Without it that is 1970-01-01T00:00:00Z, " +
      "so that the digest does not depend on the clock.",
  }),
};

/** Proxies by the usual names. */
export const proxyFields = {
  httpProxy: optional("http_proxy", text, {
    secret: true,
    description: "Proxy for http:// sources and for source registries without TLS.",
  }),
  httpsProxy: optional("https_proxy", text, {
    secret: true,
    description: "Proxy for https:// sources and for source registries.",
  }),
  noProxy: optional("no_proxy", text, { description: "Hosts that are reached without a proxy, separated by commas." }),
};
