/** The uploads that run from this page. They go on while the person looks at other pages of the console. */
import { signal } from "@preact/signals";

import { differenceOf, identityOf, begunUpload, rememberUpload } from "./identity.ts";
import { FileUpload } from "./file-upload.ts";

/** By the image's uid. */
export const uploads = signal<ReadonlyMap<string, FileUpload>>(new Map());

/** Files chosen while creating an image; sent as soon as the image has an address for them. */
const chosen = new Map<string, File>();

/** Keeps the file until the image with `uid` has an address to send it to. */
export function uploadWhenReady(uid: string, file: File): void {
  chosen.set(uid, file);
}

/** Gives the file that waits for this image, once. */
export function takeChosen(uid: string): File | undefined {
  const file = chosen.get(uid);
  chosen.delete(uid);
  return file;
}

/**
 * Begins or goes on with the upload of `file` to the image with `uid` at `path`. Where another file was begun before,
 * nothing is sent and the difference is returned, unless `anew`.
 */
export async function startUpload(uid: string, path: string, file: File, anew = false): Promise<string | undefined> {
  const identity = await identityOf(file);
  const begun = begunUpload(uid);
  const difference = begun === undefined || anew ? undefined : differenceOf(begun, identity);
  if (difference !== undefined) return difference;
  rememberUpload(uid, identity);
  uploads.peek().get(uid)?.cancel();
  uploads.value = new Map(uploads.peek()).set(uid, new FileUpload(path, file, anew));
  return undefined;
}

/** The image is there, failed or gone: nothing is left to go on with. */
export function endUpload(uid: string): void {
  rememberUpload(uid, undefined);
  chosen.delete(uid);
  const upload = uploads.peek().get(uid);
  if (upload === undefined) return;
  upload.cancel();
  const rest = new Map(uploads.peek());
  rest.delete(uid);
  uploads.value = rest;
}

/** Warns before the page is left while a file is being sent. */
export function guardUploads(): void {
  addEventListener("beforeunload", (event) => {
    if ([...uploads.peek().values()].some((upload) => upload.isActive)) event.preventDefault();
  });
}
