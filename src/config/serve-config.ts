import { readFileSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { join } from "node:path";
import { parse as parseYaml } from "yaml";
import { optional, withDefault, type Field, type FieldTable, type ValuesOf } from "./field.ts";
import {
  baseUrl,
  bytes,
  choice,
  flag,
  integer,
  listenAddress,
  path,
  seconds,
  text,
  texts,
  tlsVersion,
} from "./kinds.ts";
import { failOnProblems, parseFields, type Environment, type Problem } from "./parse.ts";
import { earlyFields, imageFields, patienceFields, proxyFields, webSourceFields } from "./shared-fields.ts";

const gibi = 2 ** 30;

/** The same field under the name that it has for the service. */
function renamed<T>(field: Field<T>): Field<T> {
  return Object.freeze({ ...field, env: field.env.replace(/^(?:DVCR_)?/, "DVCR_SERVE_") });
}

/** Where the service listens, and who may do what. */
const frontFields = {
  config: optional("DVCR_SERVE_CONFIG", path, {
    flag: "config",
    description:
      "Configuration file, YAML or JSON: the names of the last column, with the values that the " +
      "variables take. Variables and flags win over it.",
  }),
  listen: withDefault(
    "DVCR_SERVE_LISTEN",
    listenAddress,
    { host: "127.0.0.1", port: 8480 },
    { flag: "listen", description: "Address and port of everything. Port 0 lets the system choose." },
  ),
  probeListen: optional("DVCR_SERVE_PROBE_LISTEN", listenAddress, {
    flag: "probe-listen",
    description:
      "Address and port, plain HTTP, of another /healthz, /readyz and /metrics: a thread of its " +
      "own answers them in time, whatever the service is busy with. Port 0 lets the system " +
      "choose.",
  }),
  publicUrl: optional("DVCR_SERVE_PUBLIC_URL", baseUrl, {
    flag: "public-url",
    description:
      "URL under which clients reach the service: in status.imageUploadURLs.external, in image " +
      "names, in the kubeconfig. Without it, that of --listen.",
  }),
  tokenFile: optional("DVCR_SERVE_TOKEN_FILE", path, {
    flag: "token-file",
    description:
      "Users, their tokens and roles, YAML or JSON. Without it nobody is asked for a token, and " +
      "only loopback addresses are listened on.",
  }),
  insecureNoAuth: withDefault("DVCR_SERVE_INSECURE_NO_AUTH", flag, false, {
    flag: "insecure-no-auth",
    description: "Listen on any address without a token file: whoever reaches the port may do everything.",
  }),
  tlsCertFile: optional("DVCR_SERVE_TLS_CERT_FILE", path, {
    flag: "tls-cert-file",
    description: "Certificate chain, PEM. Without it the service speaks plain HTTP.",
  }),
  tlsKeyFile: optional("DVCR_SERVE_TLS_KEY_FILE", path, {
    flag: "tls-key-file",
    description: "Private key of the certificate, PEM.",
  }),
  tlsMinVersion: withDefault("DVCR_SERVE_TLS_MIN_VERSION", tlsVersion, "TLSv1.2", {
    description: "Lowest TLS version.",
  }),
  allowedOrigins: withDefault("DVCR_SERVE_ALLOWED_ORIGINS", texts, [], {
    description: "Origins, such as https://portal.example.com, whose web pages may send uploads and changes.",
  }),
  requestsPerMinute: withDefault("DVCR_SERVE_REQUESTS_PER_MINUTE", integer(0, 1_000_000), 6000, {
    description: "Requests that one address may send in a minute; 0: any number.",
  }),
  trustedProxies: withDefault("DVCR_SERVE_TRUSTED_PROXIES", texts, [], {
    description:
      "Addresses and networks of reverse proxies in front of the service: a request from one of " +
      "them counts, and is logged, as from the address that its X-Forwarded-For names last " +
      "before such proxies. Without them that header is not looked at.",
  }),
};

/** Where images are kept. */
const placeFields = {
  dataDir: withDefault("DVCR_SERVE_DATA_DIR", path, "./dvcr-data", {
    flag: "data-dir",
    description: "Directory of the resources and, unless a registry is named, of the images.",
  }),
  capacity: optional("DVCR_SERVE_CAPACITY", bytes, {
    flag: "capacity",
    description:
      "Bytes that the images may take. Without it, the disk's size. Can be changed while the " +
      "service runs; without effect where a registry keeps the images.",
  }),
  nearlyFull: withDefault("DVCR_SERVE_NEARLY_FULL", integer(1, 100, "percent"), 95, {
    description: "Percent of the capacity from which on no new image is taken.",
  }),
  registry: optional("DVCR_SERVE_REGISTRY", text, {
    flag: "registry",
    description: "Registry (HOST or HOST:PORT) that keeps the images in place of the data directory.",
  }),
  registryAuthConfig: optional("DVCR_SERVE_REGISTRY_AUTH_CONFIG", path, {
    description: "docker config.json with credentials for that registry.",
  }),
  registryInsecureTls: withDefault("DVCR_SERVE_REGISTRY_INSECURE_TLS", flag, false, {
    description: "Do not verify that registry's certificate; plain HTTP is allowed too.",
  }),
  registryCaBundle: optional("DVCR_SERVE_REGISTRY_CA_BUNDLE", path, {
    description: "CA certificates for that registry, a file or a directory.",
  }),
  presenceCheckSeconds: withDefault("DVCR_SERVE_PRESENCE_CHECK_SECONDS", seconds, 300, {
    description: "How often stored images are checked to be still there.",
  }),
  gcSchedule: optional("DVCR_SERVE_GC_SCHEDULE", text, {
    description:
      "Cron expression of the garbage collection, such as `0 2 * * *`. Without it, it runs when " +
      "asked for. Read at start.",
  }),
  gcMaxShare: withDefault("DVCR_SERVE_GC_MAX_SHARE", integer(0, 100, "percent"), 50, {
    description:
      "Percent of the stored images that one garbage collection may remove; a run that would " +
      "remove more removes nothing, unless it is `dvcr gc run --force`. Read at start.",
  }),
};

/** What one import, one namespace and all of them together may take. */
const limitFields = {
  maxImports: withDefault("DVCR_SERVE_MAX_IMPORTS", integer(1, 1000), 2, {
    description:
      "Imports that are converted at the same time; others wait for their turn. The namespaces " +
      "take turns, and an import to which no bytes come does not hold the others up.",
  }),
  maxUploads: withDefault("DVCR_SERVE_MAX_UPLOADS", integer(1, 1000), 4, {
    description:
      "Uploads that are converted at the same time; others are held back. The namespaces take " +
      "turns, and an upload whose client is gone does not hold the others up.",
  }),
  maxUploadSize: withDefault("DVCR_SERVE_MAX_UPLOAD_SIZE", bytes, 1024 * gibi, {
    description: "Largest file that may be uploaded, as it is sent.",
  }),
  namespaceBytes: optional("DVCR_SERVE_NAMESPACE_BYTES", bytes, {
    description: "Bytes that the images of one namespace may take in the store.",
  }),
  namespaceImages: optional("DVCR_SERVE_NAMESPACE_IMAGES", integer(0, 1_000_000), {
    description: "Images that one namespace may have.",
  }),
  uploadStartTimeout: withDefault("DVCR_SERVE_UPLOAD_START_TIMEOUT", seconds, 600, {
    description: "Seconds that an upload may take to begin before the image fails with WaitForUserUploadTimeout.",
  }),
  uploadIdleTimeout: withDefault("DVCR_SERVE_UPLOAD_IDLE_TIMEOUT", seconds, 120, {
    description:
      "Seconds that a client may send nothing, or next to nothing, before it is answered 408; " +
      "its upload can then be continued.",
  }),
  uploadResumeTimeout: withDefault("DVCR_SERVE_UPLOAD_RESUME_TIMEOUT", seconds, 3600, {
    description: "Seconds that an interrupted upload is kept to be continued.",
  }),
  uploadSilence: withDefault("DVCR_SERVE_UPLOAD_SILENCE", seconds, 2, {
    description:
      "Seconds without a byte after which HEAD ends the connection that sends an upload, so that " +
      "another can continue it.",
  }),
};

/** Where images may be fetched from. */
const sourceFields = {
  sourceInsecureTls: withDefault("DVCR_SERVE_SOURCE_INSECURE_TLS", flag, false, {
    description: "Do not verify certificates of sources; their registries may speak plain HTTP.",
  }),
  outboundAllowHosts: withDefault("DVCR_SERVE_OUTBOUND_ALLOW_HOSTS", texts, [], {
    description:
      "Hosts that sources, registries and token services may have; `*.example.com` matches every " +
      "name below. Empty: all.",
  }),
  outboundDenyHosts: withDefault("DVCR_SERVE_OUTBOUND_DENY_HOSTS", texts, [], {
    description: "Hosts that they may not have.",
  }),
  outboundAllowAddresses: withDefault("DVCR_SERVE_OUTBOUND_ALLOW_ADDRESSES", texts, [], {
    description: "Addresses and networks that may be reached whatever the other rules say.",
  }),
  outboundDenyAddresses: withDefault("DVCR_SERVE_OUTBOUND_DENY_ADDRESSES", texts, [], {
    description: "Addresses and networks that may not be reached, nor on redirects.",
  }),
  outboundRefuseLocal: optional("DVCR_SERVE_OUTBOUND_REFUSE_LOCAL", choice("true", "false"), {
    description:
      "Refuse loopback, link-local and cloud metadata addresses. Without it: true where there is a token file.",
  }),
  retries: withDefault("DVCR_SERVE_RETRIES", integer(0, 1000), 20, {
    description: "How often an import is started again after a failure that may pass.",
  }),
  retrySeconds: renamed(patienceFields.retrySeconds),
  firstByteSeconds: renamed(webSourceFields.firstByteSeconds),
  minSourceSpeed: withDefault("DVCR_SERVE_MIN_SOURCE_SPEED", bytes, 4096, {
    description:
      "Bytes per second that a source must bring, over two minutes of waiting for it, or its " +
      "import is ended and tried again; 0: any number.",
  }),
  allowPrivateRedirects: renamed(patienceFields.allowPrivateRedirects),
  ...proxyFields,
};

/** What becomes of images: as for the pods, but in this service's names. */
const serveImageFields = {
  imageFormat: renamed(imageFields.imageFormat),
  layerCompression: renamed(imageFields.layerCompression),
  manifestKind: renamed(imageFields.manifestKind),
  allowNested: renamed(imageFields.allowNested),
  maxVirtualSize: withDefault("DVCR_SERVE_MAX_VIRTUAL_SIZE", bytes, 1024 * gibi, {
    description:
      "Largest virtual disk that is accepted. Even an empty one costs the store a thousandth of " +
      "its size and about ten CPU minutes per TiB: raise it where the store and the cores have " +
      "that to give.",
  }),
  maxDecoderMemory: renamed(imageFields.maxDecoderMemory),
  scratchLimit: renamed(imageFields.scratchLimit),
  scratchDir: optional("DVCR_SERVE_SCRATCH_DIR", path, {
    description: "Directory of the scratch files. Without it, `scratch` in the data directory.",
  }),
};

const processFields = {
  stopSeconds: renamed(patienceFields.stopSeconds),
  verbosity: renamed(earlyFields.verbosity),
};

/** Everything that `dvcr serve` reads from flags, environment and its configuration file. */
export const serveFields = {
  ...frontFields,
  ...placeFields,
  ...limitFields,
  ...sourceFields,
  ...serveImageFields,
  ...processFields,
};

type ServeValues = ValuesOf<typeof serveFields>;

export type ServeConfig = Omit<ServeValues, "scratchDir"> & {
  readonly scratchDir: string;
  /** Sources at local addresses are refused. */
  readonly refuseLocal: boolean;
};

/** Reads and checks the whole configuration. Throws E_CONFIG naming every problem at once. */
export function parseServeConfig(environment: Environment, argv: readonly string[] = []): ServeConfig {
  const file = parseFields(serveFields, environment, argv, []).config;
  const problems: Problem[] = [];
  const fromFile = file === undefined ? {} : readConfigFile(file, serveFields, problems);
  // An empty variable counts as unset, for the file's value too.
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => (value ?? "").trim() !== ""));
  const values = parseFields(serveFields, { ...fromFile, ...given }, argv, problems);
  if ((values.tlsCertFile === undefined) !== (values.tlsKeyFile === undefined))
    problems.push("DVCR_SERVE_TLS_CERT_FILE and DVCR_SERVE_TLS_KEY_FILE: got one of them, expected both or none");
  if (values.tokenFile === undefined && !values.insecureNoAuth && !isLoopback(values.listen.host)) {
    problems.push(
      `--listen: got ${JSON.stringify(listenAddress.format(values.listen))}, expected a loopback ` +
        "address where there is no --token-file (or --insecure-no-auth)",
    );
  }
  failOnProblems(problems);
  return Object.freeze({
    ...values,
    scratchDir: values.scratchDir ?? join(values.dataDir, "scratch"),
    refuseLocal:
      values.outboundRefuseLocal === undefined ? values.tokenFile !== undefined : values.outboundRefuseLocal === "true",
  });
}

/** The file's values by the variables that they stand for. */
function readConfigFile(file: string, table: FieldTable, problems: Problem[]): Record<string, string> {
  let content: unknown;
  try {
    content = parseYaml(readFileSync(file, "utf8"));
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? "it is not YAML";
    problems.push(`--config: got ${JSON.stringify(file)}, expected a readable file of YAML or JSON (${reason})`);
    return {};
  }
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    problems.push(`--config: got ${JSON.stringify(file)}, expected names with their values in it`);
    return {};
  }
  const values: Record<string, string> = {};
  for (const [name, value] of Object.entries(content as Record<string, unknown>)) {
    const field = Object.hasOwn(table, name) ? table[name] : undefined;
    const scalar = Array.isArray(value) ? value.join(",") : value;
    if (field === undefined || name === "config")
      problems.push(`${name} in ${file}: not known, expected one of those in docs/configuration.md`);
    else if (typeof scalar === "string" || typeof scalar === "number" || typeof scalar === "boolean")
      values[field.env] = String(scalar);
    else
      problems.push(
        `${name} in ${file}: got ${scalar === null ? "nothing" : "a structure"}, expected ${field.kind.expected}`,
      );
  }
  return values;
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** True for addresses that only this machine reaches. */
export function isLoopback(host: string): boolean {
  const family = isIP(host);
  return host === "localhost" || (family !== 0 && loopback.check(host, family === 6 ? "ipv6" : "ipv4"));
}
