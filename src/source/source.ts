import type { ContainerLayer } from "../layer/container-layer.ts";

/** Where the bytes come from. One file per kind; each opens into this shape and owns its own retries. */
export interface Source {
  /** For messages and logs: no credentials, no query string. */
  readonly description: string;
  /** True when the same bytes can be read again at no cost to a network (a regular file). */
  readonly replayable: boolean;
  /**
   * True when they could be fetched again at the cost of another download (a server with Range); undefined until open()
   * tells.
   */
  readonly refetchable: boolean | undefined;
  open(signal: AbortSignal): Promise<OpenSource>;
}

export interface StoredImage {
  /** "sha256:…". */
  readonly manifestDigest: string;
  /** Digest of the unpacked layer by the image's config, whose own digest is checked; nothing where there is none. */
  diffId(): Promise<string | undefined>;
}

export interface OpenSource {
  /** Exact bytes that will come, when known. */
  readonly size?: number;
  /** Who sent the bytes, after redirects, without query and credentials; set for web servers. */
  readonly sentBy?: string;
  /** True when the content is a disk's own bytes whatever they look like (a block device). */
  readonly isDisk?: boolean;
  /** Set where the bytes are a layer's blob: size and checksums are then the blob's and the disk file's. */
  readonly containerLayer?: ContainerLayer;
  /** What is known of the stored image whose layer this is. */
  readonly storedImage?: StoredImage;
  /** True when the bytes are packed in snappy's framing format. */
  readonly isFramedSnappy?: boolean;
  /** Set for files: the core reads the descriptor itself, with random access. Owned by the source. */
  readonly fd?: number;
  /**
   * Set for everything else: chunks in order, from the first byte to the last. Ends or throws a DvcrError. They are the
   * reader's, who empties each one when it was read.
   */
  readonly chunks?: AsyncIterable<Uint8Array>;
  /**
   * Bytes of the stream that have come, those included that wait for their turn; without what is read by readRange().
   * Missing where nothing comes ahead of its turn.
   */
  received?(): number;
  /**
   * Random access to the same bytes where the origin offers it; used for small metadata ahead of the stream. Resolves
   * with nothing where it turns out that the origin offers it no longer; `chunks` go on.
   */
  readRange?(offset: number, length: number): Promise<Uint8Array | undefined>;
  close(): Promise<void>;
}
