/** Errors of the images service, and of every process. */
import { refused, retry, usage, type ErrorEntry } from "./entry.ts";

export const serviceErrors = {
  E_OBJECT_NOT_FOUND: refused(404, "There is no such object", "Check its name and namespace."),
  E_OBJECT_EXISTS: refused(
    409,
    "An object of this name exists already",
    "Choose another name, or delete the other first.",
  ),
  E_OBJECT_CONFLICT: retry(
    409,
    "The object was changed by somebody else meanwhile",
    "Read it again and repeat the change.",
  ),
  E_OBJECT_INVALID: refused(422, "The object is not valid", "Correct the fields named in the message."),
  E_VERSION_EXPIRED: retry(
    410,
    "This version is too old to go on from",
    "List again and watch from the version of the list.",
  ),
  E_STORE_IO: retry(
    500,
    "The database of the resources could not be opened, read or written",
    "Check the data directory's permissions and free space, and that no newer version wrote it.",
  ),
  E_STORE_FULL: retry(
    507,
    "The disk of the data directory is full",
    "Delete images or run `dvcr gc run`, both work on a full disk; or free space on it by other means.",
  ),
  E_STORE_LOST: refused(
    500,
    "The database of the resources and the stored images do not belong together",
    "Put the missing part back from a backup, or run `dvcr restore check` to see what can be " +
      "made again from what is there.",
  ),
  E_STORE_DAMAGED: refused(
    500,
    "The database of the resources is damaged",
    "Put a backup of the data directory back, or run `dvcr restore run`: it keeps the damaged " +
      "file and makes the resources again from the stored images.",
  ),
  E_GC_REFUSED: refused(
    409,
    "Garbage collection would remove more than it may without being asked twice",
    "Look at `dvcr gc check`; `dvcr gc run --force` removes what it lists.",
  ),
  E_DATA_DIR_IN_USE: retry(
    503,
    "Another process uses this data directory",
    "Stop that process, or use another --data-dir (DVCR_SERVE_DATA_DIR).",
  ),
  E_UNAUTHENTICATED: refused(
    401,
    "The credentials are missing or wrong",
    "Send `Authorization: Bearer TOKEN` with a token of this server.",
  ),
  E_NOT_ALLOWED: refused(403, "This user may not do that", "Ask for a role that may."),
  E_TARGET_REFUSED: refused(
    403,
    "The server may not connect to this address",
    "Use another address, or ask whoever runs the server to allow it.",
  ),
  E_PLACE_FULL: retry(
    507,
    "The store for images is nearly full",
    "Delete images, run `dvcr gc run`, or raise the limit.",
  ),
  E_GAVE_WAY: retry(
    503,
    "The import waited for bytes, and others needed its room",
    "An import begins again by itself; an upload has to be sent again from its first byte.",
  ),
  E_QUOTA: retry(403, "The namespace's quota is used up", "Delete images of the namespace, or ask for a larger quota."),
  E_QUOTA_EXCEEDED: refused(
    403,
    "The image does not fit into its namespace's quota",
    "Delete images of the namespace, or ask for a larger quota; then change the spec or make the resource again.",
  ),
  E_SERVICE_UNREACHABLE: retry(
    502,
    "The images service cannot be reached",
    "Check --server (DVCR_SERVER) and whether `dvcr serve` runs there.",
  ),
  E_IMAGE_FAILED: refused(
    422,
    "The image could not be made",
    "Read the reason in the message; `dvcr describe` tells more.",
  ),
  E_BODY_TIMEOUT: retry(408, "The body of the request came too slowly", "Send it again, over a faster connection."),
  E_TOO_MANY: retry(429, "Too many requests", "Wait as long as Retry-After says."),
  E_BAD_REQUEST: refused(400, "The request is malformed", "Read the reason in the message."),
  E_USAGE: usage("The options are wrong", "Run with --help."),
  E_CONFIG: usage("The configuration is wrong", "Correct the variables named in the message."),
  E_CANCELLED: retry(503, "The import was cancelled", "Start it again."),
  E_INTERNAL: retry(500, "Something went wrong inside", "Please report it with the log."),
} as const satisfies Record<string, ErrorEntry>;
