/** Manifests and descriptors as they arrive: nothing in them is taken for granted. */
import { DvcrError } from "../errors/dvcr-error.ts";
import type { BlobDescriptor } from "./blobs.ts";
import { isDigest } from "./reference.ts";

export interface ManifestJson {
  readonly mediaType?: unknown;
  readonly artifactType?: unknown;
  readonly config?: DescriptorJson | null;
  readonly layers?: unknown;
  readonly manifests?: unknown;
}

export interface DescriptorJson {
  readonly mediaType?: unknown;
  readonly digest?: unknown;
  readonly size?: unknown;
  readonly urls?: unknown;
  readonly annotations?: Readonly<Record<string, unknown>> | null;
  readonly platform?: PlatformJson | null;
}

export interface PlatformJson {
  readonly os?: unknown;
  readonly architecture?: unknown;
  readonly variant?: unknown;
}

/** A manifest's or index's document; `name` is for messages. @throws DvcrError E_SOURCE_HTTP. */
export function parseManifest(bytes: Uint8Array, name: string): ManifestJson {
  try {
    const parsed = JSON.parse(Buffer.from(bytes).toString("utf8")) as unknown;
    if (typeof parsed === "object" && parsed !== null) return parsed;
  } catch {
    // Told below: the parser's own words would quote the document.
  }
  throw malformed(name, "it is not a JSON object");
}

/** A list of descriptors, or nothing where the field is none. */
export function descriptors(list: unknown): readonly DescriptorJson[] | undefined {
  return Array.isArray(list)
    ? list.map((entry: unknown) => (typeof entry === "object" && entry !== null ? entry : {}))
    : undefined;
}

/** Digest and size of a descriptor. @throws DvcrError E_SOURCE_HTTP where they are not such. */
export function blobOf({ digest, size }: DescriptorJson, name: string): BlobDescriptor {
  if (typeof digest !== "string" || !isDigest(digest)) throw malformed(name, "a digest in it is not sha256");
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw malformed(name, `the size of ${digest} is not a number of bytes`);
  return { digest, size };
}

function malformed(name: string, reason: string): DvcrError {
  return new DvcrError("E_SOURCE_HTTP", `the manifest of ${name} is malformed: ${reason}`);
}
