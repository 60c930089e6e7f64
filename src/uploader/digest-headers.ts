import type { IncomingHttpHeaders } from "node:http";
import type { Checksum } from "../config/kinds.ts";
import { DvcrError } from "../errors/dvcr-error.ts";

const algorithms: Readonly<Record<string, { readonly name: string; readonly bytes: number }>> = {
  "sha-256": { name: "sha256", bytes: 32 },
  "sha-512": { name: "sha512", bytes: 64 },
};

const keyOf = ({ algorithm, expected }: Checksum): string => `${algorithm}:${expected}`;

/**
 * The digests that one header declares (RFC 9530, section 2; algorithms we do not know are ignored, as it allows).
 * Content-Digest covers one request's bytes, Repr-Digest the whole file. Throws E_BAD_REQUEST for a malformed header.
 */
export function declaredDigests(headers: IncomingHttpHeaders, name: "content-digest" | "repr-digest"): Checksum[] {
  const value = headers[name];
  if (value === undefined) return [];
  return [value]
    .flat()
    .join(",")
    .split(",")
    .flatMap((member) => {
      const match = /^\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]+={0,2}):\s*$/.exec(member);
      if (match === null)
        throw new DvcrError("E_BAD_REQUEST", `the header ${name} is malformed, expected algorithm=:base64:`);
      const algorithm = algorithms[match[1] ?? ""];
      if (algorithm === undefined) return [];
      const sum = Buffer.from(match[2] ?? "", "base64");
      if (sum.length !== algorithm.bytes) {
        throw new DvcrError(
          "E_BAD_REQUEST",
          `the header ${name} holds ${sum.length} bytes for ${match[1] ?? ""}, expected ${algorithm.bytes}`,
        );
      }
      return [{ algorithm: algorithm.name, expected: sum.toString("hex") }];
    });
}

/** `known` and `declared`, each once. Throws E_BAD_REQUEST where two of one algorithm differ. */
export function mergeChecksums(known: readonly Checksum[], declared: readonly Checksum[]): Checksum[] {
  const wanted = new Map(known.map((checksum) => [keyOf(checksum), checksum]));
  for (const checksum of declared) {
    const other = [...wanted.values()].find(
      ({ algorithm, expected }) => algorithm === checksum.algorithm && expected !== checksum.expected,
    );
    if (other !== undefined) {
      throw new DvcrError(
        "E_BAD_REQUEST",
        `the declared ${checksum.algorithm} ${checksum.expected} is not the one asked for, ${other.expected}`,
      );
    }
    wanted.set(keyOf(checksum), checksum);
  }
  return [...wanted.values()];
}

/**
 * Throws E_BAD_REQUEST when `declared`, of a request that continues an upload, holds what its first request did not.
 */
export function checkDeclaredBefore(known: readonly Checksum[], declared: readonly Checksum[]): void {
  const before = new Set(known.map(keyOf));
  const late = mergeChecksums(known, declared).find((checksum) => !before.has(keyOf(checksum)));
  if (late !== undefined) {
    throw new DvcrError(
      "E_BAD_REQUEST",
      `the first request of this upload declared no ${late.algorithm} of the whole file, and its ` +
        "bytes have passed; send the file from its beginning",
    );
  }
}

/** Checksums as a Repr-Digest, as far as it has names for them. */
export function formatDigests(checksums: Readonly<Record<string, string>>): string {
  return Object.entries(algorithms)
    .flatMap(([member, { name }]) =>
      checksums[name] === undefined ? [] : [`${member}=:${Buffer.from(checksums[name], "hex").toString("base64")}:`],
    )
    .join(", ");
}
