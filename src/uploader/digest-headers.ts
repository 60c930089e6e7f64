import type { IncomingHttpHeaders } from "node:http";
import type { Checksum } from "../config/kinds.ts";
import { DvcrError } from "../errors/dvcr-error.ts";

const algorithms: Readonly<Record<string, { readonly name: string; readonly bytes: number }>> = {
  "sha-256": { name: "sha256", bytes: 32 },
  "sha-512": { name: "sha512", bytes: 64 },
};

/** One header's dictionary of digests (RFC 9530, section 2; algorithms we do not know are ignored, as it allows). */
function parseField(name: string, value: string): Checksum[] {
  return value.split(",").flatMap((member) => {
    const match = /^\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]+={0,2}):\s*$/.exec(member);
    if (match === null) throw new DvcrError("E_BAD_REQUEST", `the header ${name} is malformed, expected algorithm=:base64:`);
    const algorithm = algorithms[match[1] ?? ""];
    if (algorithm === undefined) return [];
    const sum = Buffer.from(match[2] ?? "", "base64");
    if (sum.length !== algorithm.bytes) {
      throw new DvcrError("E_BAD_REQUEST", `the header ${name} holds ${sum.length} bytes for ${match[1] ?? ""}, expected ${algorithm.bytes}`);
    }
    return [{ algorithm: algorithm.name, expected: sum.toString("hex") }];
  });
}

/**
 * The checksums to verify: those configured and those that the client declares by Content-Digest or Repr-Digest, each
 * once. Throws E_BAD_REQUEST for a malformed header and where two of one algorithm differ.
 */
export function wantedChecksums(configured: readonly Checksum[], headers: IncomingHttpHeaders): Checksum[] {
  const declared = ["content-digest", "repr-digest"].flatMap((name) => {
    const value = headers[name];
    return value === undefined ? [] : parseField(name, [value].flat().join(","));
  });
  const wanted = new Map<string, Checksum>();
  for (const checksum of configured) wanted.set(`${checksum.algorithm}:${checksum.expected}`, checksum);
  for (const checksum of declared) {
    const other = [...wanted.values()].find(({ algorithm, expected }) => algorithm === checksum.algorithm && expected !== checksum.expected);
    if (other !== undefined) {
      throw new DvcrError("E_BAD_REQUEST", `the declared ${checksum.algorithm} ${checksum.expected} is not the one asked for, ${other.expected}`);
    }
    wanted.set(`${checksum.algorithm}:${checksum.expected}`, checksum);
  }
  return [...wanted.values()];
}
