import { parseHeaderLine } from "./header-line.ts";
import { optional, required, withDefault, type ValuesOf } from "./field.ts";
import { checksums, choice, flag, integer, path, text, unused } from "./kinds.ts";
import { failOnProblems, parseFields, type Environment, type Problem } from "./parse.ts";
import { earlyFields, imageFields, patienceFields, proxyFields, webSourceFields } from "./shared-fields.ts";

const notUsed = (name: string) => optional(name, unused, { description: "Accepted and not used." });

/** Everything that dvcr-importer reads from its environment. */
export const importerFields = {
  source: required("IMPORTER_SOURCE", choice("http", "registry", "dvcr", "blockDevice", "filesystem"), {
    description: "Kind of source.",
  }),
  endpoint: optional("IMPORTER_ENDPOINT", text, {
    description: "URL for http, docker://IMAGE for registry, image for dvcr; empty for block devices and file systems.",
  }),
  ownerUid: earlyFields.ownerUid,
  insecureTls: withDefault("INSECURE_TLS", flag, false, { description: "Do not verify the source's certificate." }),
  checksums: withDefault("IMPORTER_CHECKSUMS", checksums, [], {
    description: "Checksums over the bytes as received; all must match.",
  }),
  accessKeyId: optional("IMPORTER_ACCESS_KEY_ID", text, { description: "User name for the source." }),
  secretKey: optional("IMPORTER_SECRET_KEY", text, { secret: true, description: "Password for the source." }),
  authConfig: optional("IMPORTER_AUTH_CONFIG", path, {
    description: "docker config.json with credentials for the source registry.",
  }),
  certDir: optional("IMPORTER_CERT_DIR", path, {
    description: "Directory with CA certificates for the source, in addition to the system's.",
  }),
  proxyCertDir: optional("IMPORTER_PROXY_CERT_DIR", path, {
    description: "Directory with CA certificates of a proxy.",
  }),
  ...proxyFields,
  filesystem: withDefault("IMPORTER_FILESYSTEM", path, "/tmp/fs", {
    description: "Directory with disk.img, for filesystem sources.",
  }),
  destination: required("IMPORTER_DESTINATION_ENDPOINT", text, {
    description: "HOST/REPOSITORY:TAG; docker:// may stand before it, or oci:DIR:TAG in its place.",
  }),
  destinationInsecureTls: withDefault("DESTINATION_INSECURE_TLS", flag, false, {
    description: "Do not verify the destination's certificate; plain HTTP is allowed too.",
  }),
  destinationAuthConfig: optional("IMPORTER_DESTINATION_AUTH_CONFIG", path, {
    description: "docker config.json with credentials for the destination; read again after a refusal.",
  }),
  destinationAccessKeyId: optional("IMPORTER_DESTINATION_ACCESS_KEY_ID", text, {
    description: "User name for the destination; wins over the file.",
  }),
  destinationSecretKey: optional("IMPORTER_DESTINATION_SECRET_KEY", text, {
    secret: true,
    description: "Password for the destination.",
  }),
  destinationCaBundle: optional("IMPORTER_DESTINATION_CA_BUNDLE", path, {
    description:
      "CA certificates for the destination, a file or a directory of *.crt files; not looked at " +
      "when verification is off.",
  }),
  extraHeadersDir: withDefault("DVCR_EXTRA_HEADERS_DIR", path, "/extraheaders", {
    description: "Directory whose files hold HTTP headers for http sources, one `Name: value` a line; need not exist.",
  }),
  retries: withDefault("DVCR_RETRIES", integer(0, 1000), 20, {
    description: "How often an import is started again after a failure that may pass.",
  }),
  ...webSourceFields,
  ...imageFields,
  ...patienceFields,
  metricsPort: earlyFields.metricsPort,
  terminationLog: earlyFields.terminationLog,
  verbosity: earlyFields.verbosity,
  contentType: notUsed("IMPORTER_CONTENTTYPE"),
  imageSize: notUsed("IMPORTER_IMAGE_SIZE"),
  filesystemOverhead: notUsed("FILESYSTEM_OVERHEAD"),
  diskId: notUsed("IMPORTER_DISK_ID"),
  uuid: notUsed("IMPORTER_UUID"),
  readyFile: notUsed("IMPORTER_READY_FILE"),
  doneFile: notUsed("IMPORTER_DONE_FILE"),
  backingFile: notUsed("IMPORTER_BACKING_FILE"),
  thumbprint: notUsed("IMPORTER_THUMBPRINT"),
};

const headerPrefix = "IMPORTER_EXTRA_HEADER_";

export type ImporterConfig = ValuesOf<typeof importerFields> & {
  /** Values of IMPORTER_EXTRA_HEADER_*, each `Name: value`. */
  readonly headerLines: readonly string[];
};

/** Reads and checks the whole configuration. Throws E_CONFIG naming every problem at once. */
export function parseImporterConfig(environment: Environment, argv: readonly string[] = []): ImporterConfig {
  const problems: Problem[] = [];
  const values = parseFields(importerFields, environment, argv, problems);
  if (["http", "registry", "dvcr"].includes(values.source) && values.endpoint === undefined) {
    problems.push(`IMPORTER_ENDPOINT: got nothing, expected where the ${values.source} source is`);
  }
  if (values.source === "dvcr" && values.checksums.length > 0) {
    problems.push("IMPORTER_CHECKSUMS: got some, expected none for the dvcr source: the image is copied as it is");
  }
  if (values.source === "http" && values.endpoint !== undefined && !isHttpUrl(values.endpoint)) {
    problems.push("IMPORTER_ENDPOINT: got something else, expected an http:// or https:// URL");
  }
  if ((values.accessKeyId === undefined) !== (values.secretKey === undefined)) {
    problems.push("IMPORTER_ACCESS_KEY_ID and IMPORTER_SECRET_KEY: got one of them, expected both or none");
  }
  if ((values.destinationAccessKeyId === undefined) !== (values.destinationSecretKey === undefined)) {
    problems.push(
      "IMPORTER_DESTINATION_ACCESS_KEY_ID and IMPORTER_DESTINATION_SECRET_KEY: got one of them, expected both or none",
    );
  }
  const headers = Object.entries(environment).filter(
    ([name, value]) => name.startsWith(headerPrefix) && (value ?? "") !== "",
  );
  for (const [name, value] of headers) {
    if (parseHeaderLine(value ?? "") === undefined) problems.push(`${name}: got (hidden), expected \`Name: value\``);
  }
  failOnProblems(problems);
  return Object.freeze({ ...values, headerLines: Object.freeze(headers.map(([, value]) => value ?? "")) });
}

function isHttpUrl(value: string): boolean {
  return /^https?:\/\//i.test(value) && URL.canParse(value);
}
