/** Images in a registry of others: DVCR, or any registry of the distribution specification. */
import type { Destination } from "../../destination/destination.ts";
import { RegistryDestination } from "../../destination/docker.ts";
import type { DvcrError } from "../../errors/dvcr-error.ts";
import { copyImage } from "../../copy/copy-image.ts";
import type { BlobUploadOptions } from "../../registry/blob-upload.ts";
import { deleteTag, listRepositories } from "../../registry/catalog.ts";
import type { RegistryClient } from "../../registry/client.ts";
import { credentialSource } from "../../registry/credentials.ts";
import { listTags, statManifest } from "../../registry/manifests.ts";
import { openRegistry, type RegistryAccess } from "../../registry/open.ts";
import type { ImageReference } from "../../registry/reference.ts";
import type { RetryEvent } from "../../retry/retry.ts";
import type { ImagePlace, PlaceUsage } from "./image-place.ts";
import type { ImageName } from "../model/names.ts";

export interface RegistryPlaceOptions {
  /** `host` or `host:port`. */
  readonly host: string;
  readonly access: RegistryAccess;
  readonly upload?: BlobUploadOptions;
  /** Told of an image that the registry does not let us remove; its own garbage collection has to. */
  readonly onKept?: (name: ImageName) => void;
}

/** The repositories that are ours, by their first part (contract, section 6.1). */
const ours = /^(?:cvi|vi)\//;
const maxTags = 1000;

export class RegistryPlace implements ImagePlace {
  readonly #options: RegistryPlaceOptions;

  constructor(options: RegistryPlaceOptions) {
    this.#options = options;
  }

  urlOf({ repository, tag }: ImageName): string {
    return `${this.#options.host}/${repository}:${tag}`;
  }

  destination(name: ImageName, onRetry?: (error: DvcrError) => void): Destination {
    const { access, upload } = this.#options;
    const reference = this.#reference(name);
    const credentials = credentialSource(reference.host, reference.repository, access.credentials);
    const retried = (event: RetryEvent): void => {
      access.onRetry?.(event);
      onRetry?.(event.error);
    };
    return new RegistryDestination(reference, {
      ...access,
      credentials,
      onRetry: retried,
      ...(upload === undefined ? {} : { upload }),
    });
  }

  async copy(from: ImageName, to: ImageName, signal: AbortSignal): Promise<void> {
    await this.#with(from, (source) =>
      this.#with(to, async (target) => {
        const ends = [
          { client: source, reference: this.#reference(from) },
          { client: target, reference: this.#reference(to) },
        ] as const;
        await copyImage(ends[0], ends[1], signal, this.#options.upload).done;
      }),
    );
  }

  async remove(name: ImageName, signal: AbortSignal): Promise<void> {
    const removed = await this.#with(name, (client) => deleteTag(client, name.repository, name.tag, signal));
    if (!removed) this.#options.onKept?.(name);
  }

  has(name: ImageName, signal: AbortSignal): Promise<boolean> {
    return this.#with(
      name,
      async (client) => (await statManifest(client, name.repository, name.tag, signal)) !== undefined,
    );
  }

  async *list(signal: AbortSignal): AsyncGenerator<ImageName> {
    const client = this.#open({ repository: "", tag: "" });
    try {
      for await (const repository of listRepositories(client, signal)) {
        if (!ours.test(repository)) continue;
        const tags = await this.#with({ repository, tag: "" }, (one) => listTags(one, repository, maxTags, signal));
        for (const tag of tags) yield { repository, tag };
      }
    } finally {
      await client.close();
    }
  }

  /** A registry does not tell how full it is. */
  usage(): Promise<PlaceUsage> {
    return Promise.resolve({ capacity: Infinity, used: 0, free: Infinity });
  }

  async close(): Promise<void> {}

  #reference({ repository, tag }: ImageName): ImageReference & { readonly tag: string } {
    return { host: this.#options.host, repository, tag };
  }

  #open(name: ImageName): RegistryClient {
    return openRegistry(this.#reference(name), { ...this.#options.access, forPush: true });
  }

  /** Credentials may differ by repository, so each gets a client of its own. */
  async #with<T>(name: ImageName, work: (client: RegistryClient) => Promise<T>): Promise<T> {
    const client = this.#open(name);
    try {
      return await work(client);
    } finally {
      await client.close();
    }
  }
}
