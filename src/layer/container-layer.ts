/** Layers of container images that hold a disk, as sources name them and the core reads them. */

/** What the source's bytes are where they are a layer's blob and not the disk file. */
export interface ContainerLayer {
  /** "sha256:…" of the blob; the core compares it. */
  readonly digest: string;
  /** A tar with the file under disk/; by its content either that or the file itself; the file itself. */
  readonly content: "tar" | "tar-or-file" | "file";
  /** Paths under disk/ that layers above hide, as a layer's listing names them. */
  readonly hidden: readonly string[];
  /** By its media type. */
  readonly isCompressed?: boolean;
}

/** What one layer says of the directory disk/. */
export interface LayerListing {
  /** The file that would be read; empty where there is none. */
  readonly disk: string;
  /** Paths that it hides in the layers below; with a slash at the end, only what is in that directory. */
  readonly hides: readonly string[];
  /** The first few files, for messages. */
  readonly seen: readonly string[];
}
