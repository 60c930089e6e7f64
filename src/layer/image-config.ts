/** The finished image as bytes: what a destination stores. Built by buildImage(); see contract section 6.2. */
export interface ImageManifest {
  readonly manifest: Uint8Array;
  readonly manifestMediaType: string;
  /** "sha256:…" of `manifest`. */
  readonly manifestDigest: string;
  readonly config: Uint8Array;
  readonly configDigest: string;
  readonly layer: { readonly digest: string; readonly size: number; readonly mediaType: string };
}
