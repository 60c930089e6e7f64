/** TLS as for docker's certs.d: `*.crt` are CAs, `*.cert` with `*.key` is a client's pair. */
import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import { DvcrError } from "../errors/dvcr-error.ts";

export interface TlsOptions {
  /** False: any certificate is taken, and plain http where https does not answer, as skopeo does. */
  readonly verify: boolean;
  /** Directory with the files above, or one file of CAs. They are trusted beside the system's. */
  readonly certDirectory?: string;
  /** Directories whose every file that is not hidden holds CAs, whatever its name; trusted beside the system's. */
  readonly authorityDirectories?: readonly string[];
  /** CAs as PEM; trusted beside the system's. */
  readonly authorities?: readonly string[];
}

const systemBundle = "/etc/ssl/certs/ca-certificates.crt";

/** Contexts of other certificates than the last few are made again. */
const mostKept = 8;
const kept = new Map<string, SecureContext>();

/**
 * One context for all connections of the same certificates: parsing a bundle blocks the event loop for tens of
 * milliseconds.
 */
export async function secureContext(options: TlsOptions): Promise<SecureContext> {
  const system = await readFile(systemBundle, "utf8").catch(() => "");
  const own = options.certDirectory === undefined ? undefined : await readCertDirectory(options.certDirectory);
  const more = (await Promise.all((options.authorityDirectories ?? []).map(readAuthorities))).flat();
  const authorities = [
    ...rootCertificates,
    ...(system === "" ? [] : [system]),
    ...(own?.authorities ?? []),
    ...more,
    ...(options.authorities ?? []),
  ];
  const pair = own?.pair === undefined ? {} : { cert: own.pair.certificate, key: own.pair.key };
  const name = createHash("sha256")
    .update(JSON.stringify([authorities, pair]))
    .digest("base64");
  try {
    const context = kept.get(name) ?? createSecureContext({ ca: authorities, ...pair });
    kept.delete(name);
    kept.set(name, context);
    if (kept.size > mostKept) kept.delete(kept.keys().next().value!);
    return context;
  } catch (error) {
    const { code = "unreadable" } = error as NodeJS.ErrnoException;
    const given = options.authorities === undefined ? undefined : "the CA bundle";
    const places = [options.certDirectory, ...(options.authorityDirectories ?? []), given].filter(
      (place) => place !== undefined,
    );
    throw new DvcrError(
      "E_USAGE",
      `a certificate or key in ${places.join(" or ") || systemBundle} is not valid PEM (${code})`,
    );
  }
}

interface CertDirectory {
  readonly authorities: readonly string[];
  readonly pair: { readonly certificate: string; readonly key: string } | undefined;
}

async function readCertDirectory(directory: string): Promise<CertDirectory> {
  try {
    if ((await stat(directory)).isFile()) return { authorities: [await readFile(directory, "utf8")], pair: undefined };
    const names = (await readdir(directory)).sort();
    const read = (name: string) => readFile(join(directory, name), "utf8");
    const authorities = await Promise.all(names.filter((name) => name.endsWith(".crt")).map(read));
    const certificate = names.find((name) => name.endsWith(".cert"));
    if (certificate === undefined) return { authorities, pair: undefined };
    const key = certificate.replace(/\.cert$/, ".key");
    if (!names.includes(key)) throw new DvcrError("E_USAGE", `${join(directory, certificate)} has no ${key} beside it`);
    return { authorities, pair: { certificate: await read(certificate), key: await read(key) } };
  } catch (error) {
    if (error instanceof DvcrError) throw error;
    throw new DvcrError(
      "E_USAGE",
      `the certificate directory ${directory} cannot be read (${(error as NodeJS.ErrnoException).code ?? ""})`,
    );
  }
}

/** A mounted ConfigMap or Secret: its files are links, beside hidden ones of the kubelet's. */
async function readAuthorities(directory: string): Promise<string[]> {
  try {
    const paths = (await readdir(directory))
      .filter((name) => !name.startsWith("."))
      .sort()
      .map((name) => join(directory, name));
    const files = await Promise.all(
      paths.map(async (path) => ((await stat(path)).isFile() ? await readFile(path, "utf8") : "")),
    );
    const authorities = files.filter((text) => text.includes("-----BEGIN CERTIFICATE-----"));
    if (authorities.length === 0) throw new DvcrError("E_USAGE", `${directory} holds no PEM certificate`);
    return authorities;
  } catch (error) {
    if (error instanceof DvcrError) throw error;
    throw new DvcrError(
      "E_USAGE",
      `the certificate directory ${directory} cannot be read (${(error as NodeJS.ErrnoException).code ?? ""})`,
    );
  }
}
