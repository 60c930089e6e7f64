/** What is asked for below `/v2/`. Everything that becomes part of a file's name is checked here, by its grammar. */
import { isDigest, isRepository, isTag } from "../../registry/reference.ts";
import { DistributionError } from "./answers.ts";

export type DistributionPath =
  | { readonly kind: "base" }
  | { readonly kind: "catalog" }
  | { readonly kind: "tags"; readonly repository: string }
  | { readonly kind: "manifest"; readonly repository: string; readonly tag?: string; readonly digest?: string }
  | { readonly kind: "blob"; readonly repository: string; readonly digest: string };

/**
 * `path`: decoded, without `/v2/`. @throws DistributionError NAME_INVALID, DIGEST_INVALID, MANIFEST_UNKNOWN,
 * UNSUPPORTED.
 */
export function parsePath(path: string): DistributionPath {
  if (path === "") return { kind: "base" };
  if (path === "_catalog") return { kind: "catalog" };
  const [, repository = "", kind = "", reference = ""] = /^(.+)\/(manifests|blobs|tags)\/([^/]+)$/.exec(path) ?? [];
  if (kind === "") throw new DistributionError(404, "UNSUPPORTED", "there is nothing at this path");
  if (!isRepository(repository)) throw new DistributionError(400, "NAME_INVALID", "invalid repository name");
  if (kind === "tags") {
    if (reference !== "list") throw new DistributionError(404, "UNSUPPORTED", "there is nothing at this path");
    return { kind: "tags", repository };
  }
  if (kind === "blobs") return { kind: "blob", repository, digest: checkDigest(reference) };
  if (reference.includes(":")) return { kind: "manifest", repository, digest: checkDigest(reference) };
  if (!isTag(reference)) throw new DistributionError(404, "MANIFEST_UNKNOWN", "manifest unknown");
  return { kind: "manifest", repository, tag: reference };
}

function checkDigest(text: string): string {
  if (!isDigest(text)) throw new DistributionError(400, "DIGEST_INVALID", "a digest is sha256: and 64 hex digits");
  return text;
}
