/** The upload protocol of docs/uploads.md: HEAD tells where it stands, PUT with Content-Range sends the rest. */
import { ApiError, problemOf } from "../api/problem.ts";

export interface UploadStanding {
  readonly state: "idle" | "receiving" | "interrupted" | "importing" | "stored" | "refused";
  /** Bytes that need not be sent again. */
  readonly offset: number;
  /** Bytes of the file that was begun, once known. */
  readonly total: number | undefined;
  /** The catalogue's line, where the upload was refused. */
  readonly refusal: string | undefined;
}

const states: readonly string[] = ["idle", "receiving", "interrupted", "importing", "stored", "refused"];

/** Asks how the upload at `path` stands. Throws ApiError: 404 means that the address is no longer good. */
export async function askStanding(path: string, signal: AbortSignal): Promise<UploadStanding> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method: "HEAD",
      signal,
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError("The server cannot be reached", 0);
  }
  if (answer.status === 404) throw new ApiError("The address of this upload is no longer good", 404);
  if (!answer.ok) throw problemOf(answer.status, "", answer.headers.get("retry-after"));
  const state = answer.headers.get("dvcr-upload-state") ?? "";
  if (!states.includes(state)) throw new ApiError("The server does not say how the upload stands", answer.status);
  return {
    state: state as UploadStanding["state"],
    offset: numberOf(answer.headers.get("upload-offset")) ?? 0,
    total: numberOf(answer.headers.get("upload-length")),
    refusal: answer.headers.get("dvcr-error") ?? undefined,
  };
}

const numberOf = (text: string | null): number | undefined =>
  text !== null && /^\d{1,16}$/.test(text) ? Number(text) : undefined;

export interface Sending {
  readonly file: File;
  /** Declared for a file that shows its format only at its end. */
  readonly format: "vpc" | undefined;
  /** Where to go on; 0 with `fresh` begins anew and drops what was begun. */
  readonly offset: number;
  readonly fresh: boolean;
  /** Bytes of the file that are on their way or there. */
  readonly onProgress: (sent: number) => void;
  readonly signal: AbortSignal;
}

/**
 * Sends what is left of the file; resolves when the server has stored the image (200) or taken the part (202). Throws
 * ApiError. XMLHttpRequest, since fetch does not tell how much of a body has been sent.
 */
export function send(path: string, { file, format, offset, fresh, onProgress, signal }: Sending): Promise<void> {
  return new Promise((resolve, reject) => {
    const http = new XMLHttpRequest();
    const stop = (): void => http.abort();
    http.open("PUT", path);
    http.setRequestHeader("accept", "application/json");
    http.setRequestHeader("content-type", "application/octet-stream");
    if (offset === 0 && format !== undefined) http.setRequestHeader("dvcr-source-format", format);
    if (!fresh && file.size > 0)
      http.setRequestHeader("content-range", `bytes ${offset}-${file.size - 1}/${file.size}`);
    http.upload.addEventListener("progress", (event) => onProgress(offset + event.loaded));
    http.addEventListener("loadend", () => {
      signal.removeEventListener("abort", stop);
      if (signal.aborted) reject(new DOMException("paused", "AbortError"));
      else if (http.status >= 200 && http.status < 300) resolve();
      else if (http.status === 0) reject(new ApiError("The connection was lost", 0));
      else reject(problemOf(http.status, http.responseText, http.getResponseHeader("retry-after")));
    });
    signal.addEventListener("abort", stop);
    if (signal.aborted) reject(new DOMException("paused", "AbortError"));
    else http.send(offset === 0 ? file : file.slice(offset));
  });
}
