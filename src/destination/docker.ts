/** `docker://HOST/REPO:TAG`: any registry of the distribution specification. */
import type { ImageManifest } from "../layer/image-config.ts";
import { BlobUpload, type BlobUploadOptions } from "../registry/blob-upload.ts";
import { pushBlob, readBlob } from "../registry/blobs.ts";
import { RegistryClient, type RegistryOptions } from "../registry/client.ts";
import { getManifest, listTags, putManifest } from "../registry/manifests.ts";
import { RegistryError } from "../registry/errors.ts";
import { formatReference, isDigest, type ImageReference } from "../registry/reference.ts";
import { currentImage, type ManifestDocument } from "./current-image.ts";
import type { CurrentImage, Destination } from "./destination.ts";
import type { LayerBacklog, LayerInsurance } from "../layer/layer-upload.ts";

export type TaggedReference = ImageReference & { readonly tag: string };
export interface RegistryDestinationOptions extends Omit<RegistryOptions, "host"> {
  readonly upload?: BlobUploadOptions;
}

/** Configs of images are a few KiB; one that is larger is not ours and its labels are not looked at. */
const maxConfigBytes = 1024 * 1024;
/** Two requests each: more would take longer than many an import. */
const maxListedTags = 100;

export class RegistryDestination implements Destination {
  readonly reference: string;
  readonly client: RegistryClient;
  readonly #name: TaggedReference;
  readonly #upload: BlobUploadOptions;

  constructor(name: TaggedReference, options: RegistryDestinationOptions) {
    this.#name = name;
    this.reference = `docker://${formatReference(name)}`;
    this.client = new RegistryClient({ ...options, host: name.host, forPush: true });
    this.#upload = options.upload ?? {};
  }

  current(signal: AbortSignal): Promise<CurrentImage | undefined> {
    return this.#imageAt(this.#name.tag, signal);
  }

  async *others(signal: AbortSignal): AsyncGenerator<CurrentImage> {
    const { repository, tag } = this.#name;
    for (const other of await listTags(this.client, repository, maxListedTags, signal)) {
      const image = other === tag ? undefined : await this.#imageAt(other, signal);
      if (image !== undefined) yield image;
    }
  }

  async tagImage(image: CurrentImage, signal: AbortSignal): Promise<void> {
    const { repository, tag } = this.#name;
    const manifest = await getManifest(this.client, repository, image.manifestDigest, signal);
    if (manifest === undefined)
      throw new RegistryError(
        "E_REGISTRY_UNAVAILABLE",
        `registry ${this.client.host}: the image ${image.manifestDigest} went away`,
        {},
      );
    await putManifest(this.client, repository, tag, manifest, signal);
  }

  async #imageAt(name: string, signal: AbortSignal): Promise<CurrentImage | undefined> {
    const found = await getManifest(this.client, this.#name.repository, name, signal);
    if (found === undefined) return undefined;
    const manifest = parseJson(found.bytes);
    const config = (manifest as ManifestDocument | undefined)?.config;
    return currentImage(found.digest, manifest, await this.#readConfig(config, signal));
  }

  beginLayer(signal: AbortSignal, insurance?: LayerInsurance, backlog?: LayerBacklog): Promise<BlobUpload> {
    const scratch = {
      ...(insurance === undefined ? {} : { insurance }),
      ...(backlog === undefined ? {} : { backlog }),
    };
    return BlobUpload.begin(this.client, this.#name.repository, signal, { ...this.#upload, ...scratch });
  }

  async commitImage(image: ImageManifest, signal: AbortSignal): Promise<void> {
    const { repository, tag } = this.#name;
    await pushBlob(this.client, repository, image.configDigest, image.config, signal);
    const manifest = { bytes: image.manifest, digest: image.manifestDigest, mediaType: image.manifestMediaType };
    await putManifest(this.client, repository, tag, manifest, signal);
  }

  close(): Promise<void> {
    return this.client.close();
  }

  async #readConfig(config: ManifestDocument["config"], signal: AbortSignal): Promise<unknown> {
    const { digest, size } = config ?? {};
    if (typeof digest !== "string" || !isDigest(digest) || typeof size !== "number" || size > maxConfigBytes)
      return undefined;
    const parts: Uint8Array[] = [];
    try {
      for await (const part of readBlob(this.client, this.#name.repository, { digest, size }, signal)) parts.push(part);
    } catch (error) {
      if (error instanceof RegistryError && error.failure.status === 404) return undefined;
      throw error;
    }
    return parseJson(Buffer.concat(parts));
  }
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8")) as unknown;
  } catch {
    return undefined;
  }
}
