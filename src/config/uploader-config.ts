import { optional, required, withDefault, type ValuesOf } from "./field.ts";
import { checksums, ciphers, flag, path, port, seconds, text, tlsVersion } from "./kinds.ts";
import { failOnProblems, parseFields, type Environment, type Problem } from "./parse.ts";
import { earlyFields, imageFields, patienceFields } from "./shared-fields.ts";

/** Everything that dvcr-uploader reads from its environment and flags. */
export const uploaderFields = {
  listenAddress: withDefault("LISTEN_ADDRESS", text, "0.0.0.0", {
    flag: "listen-address",
    description: "Address that all ports listen on.",
  }),
  listenPort: withDefault("LISTEN_PORT", port, 8444, {
    flag: "listen-port",
    description: "Port of /upload. 0 lets the system choose.",
  }),
  healthzPort: withDefault("HEALTHZ_PORT", port, 8080, {
    flag: "healthz-port",
    description: "Port of /healthz, always plain HTTP.",
  }),
  tlsCertFile: optional("TLS_CERT_FILE", path, {
    flag: "server-cert",
    description: "Certificate chain of /upload, PEM. Without it /upload is plain HTTP.",
  }),
  tlsKeyFile: optional("TLS_KEY_FILE", path, {
    flag: "server-key",
    description: "Private key of the certificate, PEM.",
  }),
  clientCaFile: optional("CLIENT_CA_FILE", path, {
    flag: "client-ca",
    description: "CA that client certificates must come from, PEM. With it every client needs one.",
  }),
  clientName: optional("CLIENT_NAME", text, {
    flag: "client-name",
    description: "Name that a client's certificate must carry as common name or DNS name.",
  }),
  tlsCiphers: optional("TLS_CIPHERS", ciphers, {
    flag: "tls-ciphers",
    description: "Cipher suites of /upload, by OpenSSL's or IANA's names.",
  }),
  tlsMinVersion: withDefault("TLS_MIN_VERSION", tlsVersion, "TLSv1.2", {
    flag: "tls-min-version",
    description: "Lowest TLS version of /upload.",
  }),
  ownerUid: earlyFields.ownerUid,
  destination: required("UPLOADER_DESTINATION_ENDPOINT", text, {
    flag: "destination-endpoint",
    description: "HOST/REPOSITORY:TAG; docker:// may stand before it, or oci:DIR:TAG in its place.",
  }),
  destinationInsecureTls: withDefault("DESTINATION_INSECURE_TLS", flag, false, {
    flag: "destination-insecure-tls",
    description: "Do not verify the destination's certificate; plain HTTP is allowed too.",
  }),
  destinationAuthConfig: optional("UPLOADER_DESTINATION_AUTH_CONFIG", path, {
    flag: "destination-auth-config",
    description: "docker config.json with credentials for the destination; read again after a refusal.",
  }),
  destinationAccessKeyId: optional("UPLOADER_DESTINATION_ACCESS_KEY_ID", text, {
    flag: "destination-access-key-id",
    description: "User name for the destination; wins over the file.",
  }),
  destinationSecretKey: optional("UPLOADER_DESTINATION_SECRET_KEY", text, {
    flag: "destination-secret-key",
    secret: true,
    description: "Password for the destination.",
  }),
  destinationCaBundle: optional("UPLOADER_DESTINATION_CA_BUNDLE", path, {
    flag: "destination-ca-bundle",
    description:
      "CA certificates for the destination, a file or a directory of *.crt files; not looked at " +
      "when verification is off.",
  }),
  checksums: withDefault("UPLOADER_CHECKSUMS", checksums, [], {
    flag: "checksums",
    description: "Checksums over the bytes as received; all must match.",
  }),
  uploadIdleTimeout: withDefault("DVCR_UPLOAD_IDLE_TIMEOUT", seconds, 120, {
    description:
      "Seconds that a client may send nothing, or next to nothing, before it is answered 408; " +
      "its upload can then be continued.",
  }),
  uploadResumeTimeout: withDefault("DVCR_UPLOAD_RESUME_TIMEOUT", seconds, 3600, {
    description: "Seconds that an interrupted upload is kept to be continued.",
  }),
  uploadSilence: withDefault("DVCR_UPLOAD_SILENCE", seconds, 2, {
    description:
      "Seconds without a byte after which HEAD ends the connection that sends an upload, so that " +
      "another can continue it.",
  }),
  uploadResultTime: withDefault("DVCR_UPLOAD_RESULT_TIME", seconds, 30, {
    description:
      "Seconds that the process stays, when the client was cut off after its last byte, to tell it the result by HEAD.",
  }),
  uploadHeadTimeout: withDefault("DVCR_UPLOAD_HEAD_TIMEOUT", seconds, 20, {
    description: "Seconds that the head of a request may take before its connection is closed.",
  }),
  uploadSipInterval: withDefault("DVCR_UPLOAD_SIP_INTERVAL", seconds, 20, {
    description:
      "Seconds after which a little more is read from a client that is held back, so that no " +
      "proxy on the way sees silence.",
  }),
  ...imageFields,
  ...patienceFields,
  metricsPort: earlyFields.metricsPort,
  terminationLog: earlyFields.terminationLog,
  verbosity: earlyFields.verbosity,
};

export type UploaderConfig = ValuesOf<typeof uploaderFields>;

/** Reads and checks the whole configuration. Throws E_CONFIG naming every problem at once. */
export function parseUploaderConfig(environment: Environment, argv: readonly string[] = []): UploaderConfig {
  const problems: Problem[] = [];
  const values = parseFields(uploaderFields, environment, argv, problems);
  if ((values.tlsCertFile === undefined) !== (values.tlsKeyFile === undefined)) {
    problems.push("TLS_CERT_FILE and TLS_KEY_FILE: got one of them, expected both or none");
  }
  if (values.clientCaFile !== undefined && values.tlsCertFile === undefined) {
    problems.push("CLIENT_CA_FILE: got a CA without TLS_CERT_FILE, expected both");
  }
  if (values.clientName !== undefined && values.clientCaFile === undefined) {
    problems.push("CLIENT_NAME: got a name without CLIENT_CA_FILE, expected both");
  }
  if ((values.destinationAccessKeyId === undefined) !== (values.destinationSecretKey === undefined)) {
    problems.push(
      "UPLOADER_DESTINATION_ACCESS_KEY_ID and UPLOADER_DESTINATION_SECRET_KEY: got one of them, expected both or none",
    );
  }
  failOnProblems(problems);
  return values;
}
