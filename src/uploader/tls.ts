import { readFileSync } from "node:fs";
import type { ServerOptions } from "node:https";
import type { Socket } from "node:net";
import { TLSSocket, type PeerCertificate } from "node:tls";
import type { UploaderConfig } from "../config/uploader-config.ts";
import { DvcrError } from "../errors/dvcr-error.ts";

/** The file that a variable names. Throws E_CONFIG. */
function readNamed(variable: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DvcrError("E_CONFIG", `${variable}: got ${JSON.stringify(path)}, expected a readable file (${reason})`, {
      cause: error,
    });
  }
}

/** TLS of the upload port, or nothing for plain HTTP. Throws E_CONFIG for a file that cannot be read. */
export function tlsOptions(config: UploaderConfig): ServerOptions | undefined {
  if (config.tlsCertFile === undefined || config.tlsKeyFile === undefined) return undefined;
  return {
    cert: readNamed("TLS_CERT_FILE", config.tlsCertFile),
    key: readNamed("TLS_KEY_FILE", config.tlsKeyFile),
    minVersion: config.tlsMinVersion,
    ...(config.tlsCiphers === undefined ? {} : { ciphers: config.tlsCiphers }),
    ...(config.clientCaFile === undefined
      ? {}
      : { ca: readNamed("CLIENT_CA_FILE", config.clientCaFile), requestCert: true, rejectUnauthorized: true }),
  };
}

/** Throws E_CLIENT_DENIED when the client's certificate, already verified, does not carry `name`. */
export function checkClientName(socket: Socket, name: string): void {
  // Without a certificate Node gives an empty object.
  const certificate: Partial<PeerCertificate> = socket instanceof TLSSocket ? socket.getPeerCertificate() : {};
  const dnsNames = (certificate.subjectaltname ?? "")
    .split(", ")
    .flatMap((entry) => (entry.startsWith("DNS:") ? [entry.slice(4)] : []));
  const commonName: unknown = certificate.subject?.CN;
  if (commonName !== name && !dnsNames.includes(name)) {
    throw new DvcrError("E_CLIENT_DENIED", `the client's certificate does not carry the name ${JSON.stringify(name)}`);
  }
}
