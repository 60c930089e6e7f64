import { optional, required, withDefault, type Kind, type ValuesOf } from "./field.ts";
import { choice, flag, path, quantity, text, unused } from "./kinds.ts";
import { failOnProblems, parseFields, type Environment, type Problem } from "./parse.ts";
import { earlyFields, imageFields, patienceFields, proxyFields } from "./shared-fields.ts";

const notUsed = (name: string) => optional(name, unused, { description: "Accepted and not used." });

const storedImage: Kind<string> = {
  expected: "docker://HOST/REPOSITORY:TAG",
  parse: (value) => (value.startsWith("docker://") ? value : undefined),
  format: (value) => value,
};

/** Everything that dvcr-pvc-importer reads from its environment. */
export const pvcImporterFields = {
  source: required("IMPORTER_SOURCE", choice("registry"), { description: "Kind of source." }),
  endpoint: required("IMPORTER_ENDPOINT", storedImage, { description: "The stored image." }),
  contentType: withDefault("IMPORTER_CONTENTTYPE", choice("kubevirt"), "kubevirt", {
    description: "What the image holds: a disk.",
  }),
  imageSize: optional("IMPORTER_IMAGE_SIZE", quantity, {
    description: "Size that was asked of the volume: what a disk on a file system volume has at least.",
  }),
  ownerUid: earlyFields.ownerUid,
  insecureTls: withDefault("INSECURE_TLS", flag, false, {
    description: "Do not verify the registry's certificate; plain HTTP is allowed too.",
  }),
  accessKeyId: optional("IMPORTER_ACCESS_KEY_ID", text, { description: "User name for the registry." }),
  secretKey: optional("IMPORTER_SECRET_KEY", text, { secret: true, description: "Password for the registry." }),
  certDir: optional("IMPORTER_CERT_DIR", path, {
    description: "Directory with CA certificates for the registry, in addition to the system's.",
  }),
  blockDevice: withDefault("DVCR_PVC_BLOCK_DEVICE", path, "/dev/pvc-importer-block-volume", {
    description: "Block device of a Block volume. Where there is none, the volume is a Filesystem one.",
  }),
  volumeDirectory: withDefault("DVCR_PVC_DIRECTORY", path, "/data", {
    description: "Where a Filesystem volume is mounted; the disk is its disk.img, a qcow2 file.",
  }),
  verify: withDefault("DVCR_VERIFY", flag, false, {
    description: "Read the disk back from the volume and compare it with what was written.",
  }),
  ...proxyFields,
  sourceFormat: imageFields.sourceFormat,
  allowNested: imageFields.allowNested,
  maxVirtualSize: imageFields.maxVirtualSize,
  maxDecoderMemory: imageFields.maxDecoderMemory,
  scratchLimit: imageFields.scratchLimit,
  scratchDir: imageFields.scratchDir,
  retrySeconds: patienceFields.retrySeconds,
  allowPrivateRedirects: patienceFields.allowPrivateRedirects,
  metricsPort: earlyFields.metricsPort,
  terminationLog: earlyFields.terminationLog,
  verbosity: earlyFields.verbosity,
  directTransfer: notUsed("IMPORTER_DIRECT_TRANSFER"),
  convertThreads: notUsed("IMPORTER_QEMU_CONVERT_THREADS"),
  filesystemOverhead: notUsed("FILESYSTEM_OVERHEAD"),
  cacheMode: notUsed("CACHE_MODE"),
  doneFile: notUsed("IMPORTER_DONE_FILE"),
};

export type PvcImporterConfig = ValuesOf<typeof pvcImporterFields>;

/** Flags of the logging library that the controller's pods were written for; all is logged to standard output here. */
const klogFlags = [
  ...["alsologtostderr", "logtostderr", "add_dir_header", "one_output", "skip_headers", "skip_log_headers"],
  ...["stderrthreshold", "log_backtrace_at", "log_dir", "log_file", "log_file_max_size", "vmodule"],
];
const klogFlag = new RegExp(`^--?(?:${klogFlags.join("|")})(?:=.*)?$`);

/** Reads and checks the whole configuration. Throws E_CONFIG naming every problem at once. */
export function parsePvcImporterConfig(environment: Environment, argv: readonly string[] = []): PvcImporterConfig {
  const problems: Problem[] = [];
  const own = argv.filter((argument) => !klogFlag.test(argument));
  const values = parseFields(pvcImporterFields, environment, own, problems);
  if ((values.accessKeyId === undefined) !== (values.secretKey === undefined))
    problems.push("IMPORTER_ACCESS_KEY_ID and IMPORTER_SECRET_KEY: got one of them, expected both or none");
  failOnProblems(problems);
  return values;
}
