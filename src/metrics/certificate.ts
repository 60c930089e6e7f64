import { generate } from "selfsigned";

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

const yearMilliseconds = 365 * 24 * 3600 * 1000;

/** A certificate of its own making, for a port whose readers do not verify it. EC, because an RSA key takes long to find. */
export async function selfSignedCertificate(commonName: string): Promise<Certificate> {
  const made = await generate([{ name: "commonName", value: commonName }], {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    notAfterDate: new Date(Date.now() + 10 * yearMilliseconds),
  });
  return { cert: made.cert, key: made.private };
}
