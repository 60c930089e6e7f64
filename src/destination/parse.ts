/** Destinations as users write them: `docker://HOST/REPO[:TAG]` and `oci:DIR:TAG`. */
import { DvcrError } from "../errors/dvcr-error.ts";
import { formatReference, parseReference, type ImageReference } from "../registry/reference.ts";

export type DestinationName =
  | { readonly kind: "docker"; readonly reference: ImageReference & { readonly tag: string } }
  | { readonly kind: "oci"; readonly directory: string; readonly tag: string };

/** What org.opencontainers.image.ref.name may hold (OCI image-spec, annotations). */
const refNamePattern =
  /^[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*(?:\/[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*)*$/;

/**
 * Parses a destination. A registry's tag defaults to `latest`; a digest is refused, since it is known only afterwards.
 * A layout's directory ends at the first colon, as with skopeo.
 *
 * @throws DvcrError E_USAGE.
 */
export function parseDestination(text: string): DestinationName {
  if (text.startsWith("docker://")) {
    const reference = parseReference(text.slice("docker://".length));
    if (reference.digest !== undefined) {
      throw new DvcrError("E_USAGE", `destination "${text}": a destination takes a tag, not a digest`);
    }
    return { kind: "docker", reference: { ...reference, tag: reference.tag ?? "latest" } };
  }
  if (text.startsWith("oci:")) return parseLayout(text);
  const scheme = /^[a-z-]+:/.exec(text)?.[0];
  throw new DvcrError(
    "E_USAGE",
    `destination ${scheme === undefined ? "has no scheme" : `scheme "${scheme}" is unknown`}: ` +
      "it must be docker://HOST/REPO:TAG or oci:DIR:TAG",
  );
}

/** A destination's name as the user would write it. */
export function formatDestination(name: DestinationName): string {
  return name.kind === "docker" ? `docker://${formatReference(name.reference)}` : `oci:${name.directory}:${name.tag}`;
}

function parseLayout(text: string): DestinationName {
  const rest = text.slice("oci:".length);
  const colon = rest.indexOf(":");
  const directory = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? "" : rest.slice(colon + 1);
  if (directory === "")
    throw new DvcrError("E_USAGE", `destination "${text}": the directory is missing, it must be oci:DIR:TAG`);
  if (!refNamePattern.test(tag)) {
    throw new DvcrError(
      "E_USAGE",
      `destination "${text}": the tag ${tag === "" ? "is missing" : `"${tag}" is malformed`}, it must be oci:DIR:TAG`,
    );
  }
  return { kind: "oci", directory, tag };
}
