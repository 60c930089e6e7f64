/** Errors of the upload server. */
import { refused, retry, type ErrorEntry } from "./entry.ts";

export const uploadErrors = {
  E_BUSY: retry(503, "Another upload is running", "Wait until it ends; one upload runs at a time."),
  E_UPLOAD_LOCKED: retry(
    423,
    "The upload is complete and its image is being stored",
    "Ask again; the answer is 200 once it is stored.",
  ),
  E_UPLOAD_DONE: refused(409, "This upload has already ended", "Ask for a new upload URL."),
  E_UPLOAD_MEMORY: retry(
    503,
    "Uploads that have begun hold all the memory that they may",
    "Wait as long as Retry-After says, or finish or end other uploads of the namespace.",
  ),
  E_UPLOAD_OFFSET: retry(
    409,
    "The upload stands at another offset",
    "Go on from the Upload-Offset of this answer, or send the whole file without Content-Range.",
  ),
  E_TUS_VERSION: refused(412, "This version of the tus protocol is not supported", "Use version 1.0.0."),
  E_TUS_CHECKSUM: retry(460, "The checksum of this part is wrong", "Send the part again; it was dropped."),
  E_TUS_TYPE: refused(
    415,
    "The request is not of the type that tus prescribes",
    "Send Content-Type application/offset+octet-stream.",
  ),
  E_PART_TOO_LARGE: refused(
    413,
    "A part with a checksum is too large",
    "Send parts of at most 16 MiB, or without Upload-Checksum.",
  ),
  E_NOT_FOUND: refused(404, "There is nothing at this path", "Check the path; an uploader takes uploads at /upload."),
  E_METHOD: refused(405, "The method is not allowed here", "Use PUT or POST."),
  E_CLIENT_DENIED: refused(
    403,
    "The client's certificate does not carry the required name",
    "Use the certificate that was made for this client.",
  ),
  E_CONTENT_CODING: refused(
    415,
    "The request's body is encoded",
    "Send the file as it is, without Content-Encoding; compressed files are recognised by their content.",
  ),
} as const satisfies Record<string, ErrorEntry>;
