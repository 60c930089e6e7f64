/** A layer on its way to a destination, and what helps it there. */

export interface LayerUpload {
  /**
   * Sends the next bytes. Resolves when `chunk` may be reused by the caller, that is, when the destination is sure to
   * hold it, has made its own copy, or was given no insurance and can do without. Calls may overlap, in order; a
   * rejection is final for the upload.
   */
  write(chunk: Uint8Array): Promise<void>;
  /** Nothing follows what was written: what is left can be sent off. Optional before commit(). */
  end?(): void;
  /** Makes the blob permanent under `digest` ("sha256:…"), `size` bytes. Only called after every check passed. */
  commit(digest: string, size: number): Promise<void>;
  /** Drops everything sent so far, best effort, never throws. */
  abort(): Promise<void>;
  /** How often the upload was begun again from what was kept. */
  readonly restarts?: number;
}

/** A copy of a layer, from its first byte on, for a destination that may lose what it has acknowledged. */
export interface LayerInsurance {
  /** Bytes kept. */
  readonly size: number;
  /** Adds to the copy. False: there is no room, and nothing is added any more; what was kept stays. */
  append(chunks: readonly Uint8Array[]): Promise<boolean>;
  /** @throws DvcrError E_SCRATCH_IO. */
  read(offset: number, length: number): AsyncIterable<Uint8Array>;
  /** What was kept is not needed any more. */
  close(): Promise<void>;
}

/** Room for layer bytes that the destination cannot take for now: first in, first out. */
export interface LayerBacklog {
  /** Bytes that wait in it. */
  readonly size: number;
  /** Adds at the end. False: there is no room, and what waits stays as it is. */
  append(chunks: readonly Uint8Array[]): Promise<boolean>;
  /** Takes up to `most` bytes from the front. @throws DvcrError E_SCRATCH_IO. */
  take(most: number): Promise<Uint8Array[]>;
}
