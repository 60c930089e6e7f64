/** `oci:DIR:TAG`: an OCI image layout on disk (OCI image-spec, image-layout.md). */
import { mkdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DvcrError } from "../errors/dvcr-error.ts";
import type { ImageManifest } from "../layer/image-config.ts";
import { throwIfCancelled } from "../retry/cancel.ts";
import { currentImage, type ManifestDocument } from "./current-image.ts";
import type { CurrentImage, Destination } from "./destination.ts";
import type { LayerUpload } from "../layer/layer-upload.ts";
import { withFileLock } from "./file-lock.ts";
import { readTag, replaceFile, writeTag } from "./oci-index.ts";
import { blobPath, layoutError, OciLayerUpload, syncDirectory } from "./oci-layer.ts";

const layoutFile = "oci-layout";
const layoutVersion = "1.0.0";

export class OciLayoutDestination implements Destination {
  readonly reference: string;
  /** Each is written as it comes, by one of the four threads that do so. */
  readonly chunksAhead = 6;
  readonly #directory: string;
  readonly #tag: string;

  constructor(directory: string, tag: string) {
    this.#directory = directory;
    this.#tag = tag;
    this.reference = `oci:${directory}:${tag}`;
  }

  async current(signal: AbortSignal): Promise<CurrentImage | undefined> {
    throwIfCancelled(signal);
    try {
      const entry = await readTag(this.#directory, this.#tag);
      if (entry === undefined) return undefined;
      const manifest = await this.#readJson(entry.digest);
      const configDigest = (manifest as ManifestDocument | undefined)?.config?.digest;
      return currentImage(
        entry.digest,
        manifest,
        configDigest === undefined ? undefined : await this.#readJson(configDigest),
      );
    } catch (error) {
      // A layout that a blob was deleted from holds no image at this tag.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw layoutError(this.#directory, error);
    }
  }

  async beginLayer(signal: AbortSignal): Promise<LayerUpload> {
    await this.#checkLayout();
    return OciLayerUpload.begin(this.#directory, signal);
  }

  async commitImage(image: ImageManifest, signal: AbortSignal): Promise<void> {
    throwIfCancelled(signal);
    try {
      await stat(blobPath(this.#directory, image.layer.digest));
      await this.#writeBlob(image.configDigest, image.config);
      await this.#writeBlob(image.manifestDigest, image.manifest);
      const marker = Buffer.from(JSON.stringify({ imageLayoutVersion: layoutVersion }));
      await withFileLock(join(this.#directory, "index.json.lock"), signal, async () => {
        if (!(await exists(join(this.#directory, layoutFile))))
          await replaceFile(join(this.#directory, layoutFile), marker);
        await writeTag(this.#directory, this.#tag, {
          mediaType: image.manifestMediaType,
          digest: image.manifestDigest,
          size: image.manifest.byteLength,
        });
        await syncDirectory(this.#directory);
      });
    } catch (error) {
      throw layoutError(this.#directory, error);
    }
  }

  async close(): Promise<void> {}

  /** A directory that declares another layout version is left alone. */
  async #checkLayout(): Promise<void> {
    let text: string;
    try {
      text = await readFile(join(this.#directory, layoutFile), "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw layoutError(this.#directory, error);
    }
    if (!/"imageLayoutVersion"\s*:\s*"1\./.test(text)) {
      throw new DvcrError(
        "E_LAYOUT_IO",
        `OCI layout "${this.#directory}": its oci-layout file is not of version ${layoutVersion}`,
      );
    }
  }

  async #writeBlob(digest: string, content: Uint8Array): Promise<void> {
    const path = blobPath(this.#directory, digest);
    const known = await stat(path).catch(() => undefined);
    if (known?.size === content.byteLength) return;
    await mkdir(dirname(path), { recursive: true });
    await replaceFile(path, content);
  }

  async #readJson(digest: string): Promise<unknown> {
    const text = await readFile(blobPath(this.#directory, digest), "utf8");
    try {
      return JSON.parse(text) as unknown;
    } catch {
      return undefined;
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
