import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Certificates {
  readonly directory: string;
  readonly ca: string;
  /** Paths of a certificate and its key, made by this CA. */
  issue(name: string, extensions?: string): { readonly cert: string; readonly key: string };
}

const openssl = (...args: string[]): void =>
  void execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
const newKey = (key: string): string[] => [
  "-newkey",
  "ec",
  "-pkeyopt",
  "ec_paramgen_curve:prime256v1",
  "-nodes",
  "-keyout",
  key,
];

/** A CA of its own with OpenSSL's command line. */
export function makeCertificates(): Certificates {
  const directory = mkdtempSync(join(tmpdir(), "dvcr-certs-"));
  const at = (name: string): string => join(directory, name);
  const ca = at("ca.crt");
  openssl("req", "-x509", ...newKey(at("ca.key")), "-out", ca, "-days", "2", "-subj", "/CN=test CA");
  return {
    directory,
    ca,
    issue: (name, extensions = `subjectAltName=DNS:${name},IP:127.0.0.1`) => {
      const [cert, key, request, settings] = [".crt", ".key", ".csr", ".ext"].map((suffix) =>
        at(`${name}${suffix}`),
      ) as [string, string, string, string];
      writeFileSync(settings, extensions);
      openssl("req", "-new", ...newKey(key), "-out", request, "-subj", `/CN=${name}`);
      openssl(
        "x509",
        "-req",
        "-in",
        request,
        "-CA",
        ca,
        "-CAkey",
        at("ca.key"),
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        settings,
        "-out",
        cert,
      );
      return { cert, key };
    },
  };
}
