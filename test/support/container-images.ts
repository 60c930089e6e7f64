/** Container images and artifacts for tests: made by buildah, or put together from layers that GNU tar made. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { mediaTypes, sha256Digest } from "../../src/layer/image-config.ts";
import { pushBlob } from "../../src/registry/blobs.ts";
import { RegistryClient } from "../../src/registry/client.ts";
import { putManifest } from "../../src/registry/manifests.ts";
import { testUser } from "./registry.ts";
import { tool } from "./tools.ts";

/** `FROM scratch` + `COPY disk /disk/`, as the platform's manual has it, by buildah; gives an `oci:` reference. */
export async function buildDiskImage(directory: string, disk: string): Promise<string> {
  await writeFile(join(directory, "Dockerfile"), `FROM scratch\nCOPY ${disk} /disk/\n`);
  const storage = [
    "--storage-driver",
    "vfs",
    "--root",
    join(directory, "buildah"),
    "--runroot",
    join(directory, "buildah-run"),
  ];
  const reference = `oci:${join(directory, "built")}:disk`;
  await tool("buildah", ...storage, "bud", "--isolation", "chroot", "-t", reference, directory);
  return reference;
}

/** A tar of `names` below `directory`, by GNU tar. */
export async function gnuTar(directory: string, names: readonly string[], ...options: string[]): Promise<Buffer> {
  const path = join(directory, "packed.tar");
  await tool("tar", "-C", directory, "-cf", path, ...options, ...names);
  return await readFile(path);
}

export interface TestLayer {
  readonly content: Uint8Array;
  readonly mediaType?: string;
  readonly title?: string;
}

export interface TestImage {
  readonly layers: readonly TestLayer[];
  readonly artifactType?: string;
  readonly platform?: { readonly os: string; readonly architecture: string };
}

export class ImagePusher implements AsyncDisposable {
  readonly client: RegistryClient;
  readonly #repository: string;
  readonly #signal = AbortSignal.timeout(60_000);

  constructor(host: string, repository: string) {
    const { name: username, password } = testUser;
    this.client = new RegistryClient({
      host,
      tls: { verify: false },
      credentials: () => Promise.resolve({ username, password }),
    });
    this.#repository = repository;
  }

  /** Puts an OCI image at a tag, or by its digest where none is given; gives its descriptor. */
  async image(image: TestImage, tag?: string) {
    const isArtifact = image.artifactType !== undefined;
    const config = Buffer.from(
      isArtifact ? "{}" : JSON.stringify({ ...image.platform, rootfs: { type: "layers", diff_ids: [] } }),
    );
    const layers = [];
    for (const { content, mediaType = "application/vnd.oci.image.layer.v1.tar", title } of image.layers) {
      const annotations = title === undefined ? {} : { annotations: { "org.opencontainers.image.title": title } };
      layers.push({ ...(await this.#blob(content)), mediaType, ...annotations });
    }
    const manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      ...(isArtifact ? { artifactType: image.artifactType } : {}),
      config: {
        mediaType: isArtifact ? "application/vnd.oci.empty.v1+json" : mediaTypes.ociConfig,
        ...(await this.#blob(config)),
      },
      layers,
    };
    const descriptor = await this.#manifest(mediaTypes.ociManifest, manifest, tag);
    return image.platform === undefined ? descriptor : { ...descriptor, platform: image.platform };
  }

  /** Puts an index of what image() gave. */
  async index(manifests: readonly unknown[], tag: string): Promise<void> {
    await this.#manifest(mediaTypes.ociIndex, { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }, tag);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }

  async #blob(content: Uint8Array) {
    const digest = sha256Digest(content);
    await pushBlob(this.client, this.#repository, digest, content, this.#signal);
    return { digest, size: content.byteLength };
  }

  async #manifest(mediaType: string, document: unknown, tag: string | undefined) {
    const bytes = Buffer.from(JSON.stringify(document));
    const digest = sha256Digest(bytes);
    await putManifest(this.client, this.#repository, tag ?? digest, { bytes, mediaType, digest }, this.#signal);
    return { mediaType, digest, size: bytes.byteLength };
  }
}
