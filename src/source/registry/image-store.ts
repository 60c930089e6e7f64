/** Where images are kept as manifests and blobs: a registry's repository, or an OCI image layout. */
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { DvcrError } from "../../errors/dvcr-error.ts";
import { sha256Digest } from "../../layer/image-config.ts";
import { readBlob, streamBlob, type BlobDescriptor } from "../../registry/blobs.ts";
import type { RegistryClient } from "../../registry/client.ts";
import { descriptors, parseManifest, type DescriptorJson } from "../../registry/manifest-json.ts";
import { getManifest } from "../../registry/manifests.ts";

export interface StoredDocument {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  /** "sha256:…" of `bytes`, checked where it was asked for by it. */
  readonly digest: string;
}

export interface ImageStore {
  /** For messages: "registry HOST". */
  readonly where: string;
  /** By tag or digest; nothing where there is none. */
  manifest(name: string, signal: AbortSignal): Promise<StoredDocument | undefined>;
  /** A layer's bytes, of the size that is said; whoever reads them checks the digest. */
  layer(blob: BlobDescriptor, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** A small blob, its digest checked. */
  document(blob: BlobDescriptor, signal: AbortSignal): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** What a config may have at most (bytes). */
const maxDocument = 4 * 1024 * 1024;

export function registryStore(client: RegistryClient, repository: string): ImageStore {
  return {
    where: `registry ${client.host}`,
    manifest: (name, signal) => getManifest(client, repository, name, signal),
    layer: (blob, signal) => streamBlob(client, repository, blob, signal),
    document: async (blob, signal) => {
      checkSmall(blob);
      const chunks: Uint8Array[] = [];
      for await (const chunk of readBlob(client, repository, blob, signal)) chunks.push(Buffer.from(chunk));
      return Buffer.concat(chunks);
    },
    close: () => client.close(),
  };
}

/** The image layout in `directory` (OCI image-spec, image-layout). */
export function layoutStore(directory: string): ImageStore {
  const pathOf = (digest: string): string => join(directory, "blobs", "sha256", digest.replace(/^sha256:/, ""));
  const blob = async (digest: string): Promise<Uint8Array | undefined> => {
    const path = pathOf(digest);
    const bytes = await unlessMissing(async () => {
      checkSmall({ digest, size: (await stat(path)).size });
      return await readFile(path);
    });
    if (bytes !== undefined && sha256Digest(bytes) !== digest)
      throw new DvcrError("E_CHECKSUM_MISMATCH", `${path} does not match its digest`);
    return bytes;
  };
  return {
    where: `image layout ${directory}`,
    manifest: async (name) => {
      const digest = name.startsWith("sha256:") ? name : await digestAt(directory, name);
      const bytes = digest === undefined ? undefined : await blob(digest);
      return bytes === undefined ? undefined : { bytes, digest: digest!, mediaType: "" };
    },
    layer: (layer) => readLayer(pathOf(layer.digest), layer),
    document: async ({ digest }) => {
      const bytes = await blob(digest);
      if (bytes === undefined) throw new DvcrError("E_SOURCE_NOT_FOUND", `${directory} has no blob ${digest}`);
      return bytes;
    },
    close: () => Promise.resolve(),
  };
}

/** The manifest at a tag; without a tag ("") the only one. */
async function digestAt(directory: string, tag: string): Promise<string | undefined> {
  const path = join(directory, "index.json");
  const text = await unlessMissing(() => readFile(path));
  if (text === undefined)
    throw new DvcrError("E_SOURCE_NOT_FOUND", `${directory} is no OCI image layout: no index.json`);
  const entries = descriptors(parseManifest(text, path).manifests) ?? [];
  const tagOf = ({ annotations }: DescriptorJson): string => {
    const name = annotations?.["org.opencontainers.image.ref.name"];
    return typeof name === "string" ? name : "";
  };
  if (tag === "" && entries.length > 1) {
    const tags = entries.map((entry) => tagOf(entry) || "(no tag)");
    throw new DvcrError(
      "E_USAGE",
      `${directory} holds ${String(entries.length)} images: ${tags.slice(0, 10).join(", ")}`,
      {
        fix: "Name one of them: oci:DIR:TAG.",
      },
    );
  }
  const entry = tag === "" ? entries[0] : entries.find((one) => tagOf(one) === tag);
  const digest = entry?.digest;
  return typeof digest === "string" && /^sha256:[0-9a-f]{64}$/.test(digest) ? digest : undefined;
}

async function* readLayer(path: string, { size }: BlobDescriptor): AsyncGenerator<Uint8Array> {
  try {
    const status = await stat(path);
    if (status.size !== size)
      throw new DvcrError("E_SOURCE_CHANGED", `${path} has ${String(status.size)} bytes instead of ${String(size)}`);
    yield* createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw fileError(path, error);
  }
}

function checkSmall({ digest, size }: BlobDescriptor): void {
  if (size > maxDocument)
    throw new DvcrError("E_SOURCE_HTTP", `the document ${digest} has ${String(size)} bytes, far more than such have`);
}

const unlessMissing = async <T>(read: () => Promise<T>): Promise<T | undefined> => {
  try {
    return await read();
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw fileError("the image layout", error);
  }
};

function fileError(path: string, error: unknown): DvcrError {
  if (error instanceof DvcrError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  const kind = code === "ENOENT" ? "E_SOURCE_NOT_FOUND" : code === "EACCES" ? "E_SOURCE_DENIED" : "E_SOURCE_IO";
  return new DvcrError(kind, `reading ${path} failed: ${code}`, { cause: error });
}
