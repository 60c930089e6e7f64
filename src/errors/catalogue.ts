/**
 * Every error a user can meet: stable code, what class it is of, its HTTP status in an upload's answer, and what to
 * do. docs/errors.md is held to this table by a test.
 *
 * kind `refused`: the input is at fault, trying again cannot help (exit 3).
 * kind `retry`: something on the way failed, trying again may help (exit 1).
 * kind `usage`: wrong options or configuration (exit 2).
 */
export type ErrorKind = "refused" | "retry" | "usage";

export interface ErrorEntry {
  readonly kind: ErrorKind;
  readonly status: number;
  readonly title: string;
  readonly fix: string;
}

const refused = (status: number, title: string, fix: string): ErrorEntry => ({ kind: "refused", status, title, fix });
const retry = (status: number, title: string, fix: string): ErrorEntry => ({ kind: "retry", status, title, fix });
const usage = (title: string, fix: string): ErrorEntry => ({ kind: "usage", status: 400, title, fix });

export const catalogue = {
  // The disk image
  E_EMPTY: refused(
    422,
    "The source holds no data",
    "Check that the file or URL is the right one and was fully written.",
  ),
  E_TRUNCATED: refused(
    422,
    "The data ends before the image does",
    "Fetch or export the image again and compare its size and checksum with the publisher's.",
  ),
  E_UNSUPPORTED_FORMAT: refused(
    415,
    "This kind of file is not a disk image we can store",
    "Convert it first, for example with `qemu-img convert -O qcow2 IN OUT`.",
  ),
  E_NOT_A_DISK: refused(
    415,
    "The file is no disk image",
    "Check the path or URL. --src-format raw (pods: DVCR_SOURCE_FORMAT=raw) stores it as it is.",
  ),
  E_UNSUPPORTED_FEATURE: refused(
    422,
    "The image, or what it is packed in, uses a feature we do not support",
    "Rewrite the image with `qemu-img convert -O qcow2 IN OUT`; pack an archive or an xz file again with plain options.",
  ),
  E_FORMAT_MISMATCH: refused(
    422,
    "The content is not of the declared format",
    "Correct or drop --src-format (pods: DVCR_SOURCE_FORMAT).",
  ),
  E_AMBIGUOUS: refused(
    422,
    "The content can be read as two formats",
    "Convert it again from its origin: no honest tool writes that. --src-format raw (pods: DVCR_SOURCE_FORMAT=raw) stores it as it is.",
  ),
  E_CORRUPT_IMAGE: refused(422, "The image's metadata is damaged", "Run `qemu-img check` on it, or fetch it again."),
  E_CORRUPT_CLUSTER: refused(
    422,
    "A compressed cluster or grain of the image is damaged",
    "Run `qemu-img check` on it, or fetch it again.",
  ),
  E_ALIAS: refused(
    422,
    "The image uses one place of its file twice",
    "No honest tool writes that. Rewrite the image with `qemu-img convert` where you trust it.",
  ),
  E_OVERLAP: refused(
    422,
    "The image's tables and data overlap",
    "No honest tool writes that. Rewrite the image with `qemu-img convert` where you trust it.",
  ),
  E_DIRTY: refused(
    422,
    "The image was not closed cleanly and its log must be replayed",
    "Open and close it with the tool that wrote it, or run `qemu-img check -r all`.",
  ),
  E_BACKING_FILE: refused(
    422,
    "The image needs a backing file or parent",
    "Flatten it: `qemu-img convert -O qcow2 IN OUT` where the backing file is.",
  ),
  E_EXTERNAL_DATA: refused(
    422,
    "The image keeps its data in another file",
    "Make it one file: `qemu-img convert -O qcow2 IN OUT`.",
  ),
  E_MULTI_FILE: refused(
    422,
    "The image consists of several files",
    "Make it one file: `qemu-img convert -O qcow2 IN OUT`.",
  ),
  E_ENCRYPTED: refused(422, "The image is encrypted", "Decrypt it first with `qemu-img convert` and its key."),
  E_NESTED_IMAGE: refused(
    422,
    "The disk's content is itself a disk image",
    "Unwrap it first, or use --allow-nested (pods: DVCR_ALLOW_NESTED=true) if that is what you want.",
  ),
  E_UNDECLARED_FIXED_VHD: refused(
    422,
    "The file is a fixed VHD, seen only at its end",
    "Declare it with --src-format vpc (pods: DVCR_SOURCE_FORMAT=vpc) and send it again.",
  ),
  E_OUT_OF_ORDER: refused(
    422,
    "The image's parts stand in an order that a stream cannot follow",
    "Rewrite it with `qemu-img convert`, or import it from a file or a server with Range.",
  ),
  E_NO_DISK: refused(422, "The archive holds no disk image", "Put exactly one disk image into it."),
  E_SEVERAL_DISKS: refused(
    422,
    "The archive holds more than one disk image",
    "Take the one you want out of it and send that.",
  ),
  E_CORRUPT_ARCHIVE: refused(422, "The archive is damaged", "Test it with `tar -tf`, or fetch it again."),
  // Compression and size
  E_CORRUPT_COMPRESSION: refused(
    422,
    "The compressed data is damaged",
    "Test it with `gzip -t`, `xz -t`, `zstd -t` or `bzip2 -t`, or fetch it again.",
  ),
  E_TRAILING_DATA: refused(
    422,
    "There is data after the end of the compressed stream or of the image",
    "Cut it off, or unpack the file first.",
  ),
  E_NESTED_COMPRESSION: refused(422, "The file is compressed too many times", "Unpack it first; two layers are read."),
  E_DECODER_MEMORY: refused(
    422,
    "Unpacking needs more memory than allowed",
    "Compress it again with a smaller window, for example `xz -6` or `zstd -19` without --long, or raise --max-decoder-memory (pods: DVCR_MAX_DECODER_MEMORY).",
  ),
  E_TOO_LARGE: refused(
    413,
    "The disk is larger than allowed",
    "Raise the limit if you mean it: --max-virtual-size, or maxVirtualSize in the configuration of the images service.",
  ),
  E_METADATA_LIMIT: refused(
    422,
    "The image needs more memory for its tables than allowed",
    "Rewrite it with larger clusters: `qemu-img convert -O qcow2 -o cluster_size=64k IN OUT`.",
  ),
  E_SIZE_MISMATCH: refused(422, "The data is not as long as was declared", "Fetch or export the image again."),
  E_SCRATCH_LIMIT: refused(
    507,
    "The image's order needs more scratch space than allowed",
    "Raise --scratch-limit (pods: DVCR_SCRATCH_LIMIT), or rewrite the image in order with `qemu-img convert`.",
  ),
  E_SCRATCH_IO: retry(
    507,
    "Writing scratch space failed",
    "Free space in the directory of --scratch-dir (pods: DVCR_SCRATCH_DIR), or name another one.",
  ),
  E_CHECKSUM_MISMATCH: refused(
    422,
    "The checksum is wrong",
    "Fetch the file again, or correct the checksum; it is taken over the bytes as sent, before unpacking.",
  ),
  // Sources
  E_SOURCE_NOT_FOUND: refused(404, "The source does not exist", "Check the path or URL."),
  E_SOURCE_DENIED: refused(
    403,
    "The source refuses access",
    "Check the credentials: --src-creds or --src-authfile (pods: IMPORTER_ACCESS_KEY_ID and IMPORTER_SECRET_KEY, or IMPORTER_AUTH_CONFIG).",
  ),
  E_SOURCE_HTTP: refused(
    502,
    "The source's server gave an answer we cannot use",
    "Open the URL with curl -v and look at the answer.",
  ),
  E_SOURCE_IO: retry(502, "Reading the source failed", "Check the network and the server, then try again."),
  E_SOURCE_CHANGED: retry(502, "The source changed while it was read", "Start the import again."),
  E_SOURCE_TLS: refused(
    502,
    "The source's certificate is not trusted",
    "Give its CA with --src-cert-dir (pods: IMPORTER_CERT_DIR), or --src-tls-verify=false (pods: INSECURE_TLS=true) where you accept the risk.",
  ),
  E_SOURCE_SLOW: retry(
    502,
    "The source brings next to nothing",
    "Import from a faster server. Whoever runs the service can lower minSourceSpeed in its configuration.",
  ),
  E_CLIENT_GONE: retry(
    400,
    "The client closed the connection before all data was sent",
    "Ask with HEAD for Upload-Offset and go on from there, or send the file again.",
  ),
  E_CLIENT_STALLED: retry(
    408,
    "The client sent nothing for too long",
    "Ask with HEAD for Upload-Offset and go on from there, or send the file again.",
  ),
  // Registry
  E_REGISTRY_DENIED: refused(
    502,
    "The registry refuses access",
    "Check that the credentials may push to this repository: --dest-creds or --authfile (pods: IMPORTER_DESTINATION_AUTH_CONFIG, UPLOADER_DESTINATION_AUTH_CONFIG).",
  ),
  E_REGISTRY_FULL: refused(507, "The registry has no space left", "Free space in the registry, then import again."),
  E_REGISTRY_REFUSED: refused(502, "The registry refused the image", "Read the registry's reason in the message."),
  E_REGISTRY_INCOMPLETE: retry(
    502,
    "The registry does not hold what it said it had taken",
    "Nothing was tagged. Run `dvcr doctor docker://REPO`, or look for a proxy or an object store behind the registry that loses parts of an upload.",
  ),
  E_REGISTRY_READONLY: retry(503, "The registry is read-only for now", "Wait until its garbage collection is over."),
  E_REGISTRY_UNAVAILABLE: retry(
    502,
    "The registry cannot be reached or failed",
    "Check its name and that it runs, then try again.",
  ),
  E_REGISTRY_TLS: refused(
    502,
    "The registry's certificate is not trusted",
    "Give its CA with --dest-cert-dir (pods: IMPORTER_DESTINATION_CA_BUNDLE, UPLOADER_DESTINATION_CA_BUNDLE), or --dest-tls-verify=false (pods: DESTINATION_INSECURE_TLS=true) where you accept the risk.",
  ),
  E_LAYOUT_IO: retry(507, "Writing the OCI layout directory failed", "Check its permissions and free space."),
  // Server and process
  E_BUSY: retry(503, "Another upload is running", "Wait until it ends; one upload runs at a time."),
  E_DISK_EXISTS: usage("The file that the disk was to be written to exists", "Give another name, or add --force."),
  E_DISK_BUSY: retry(409, "The block device is in use", "Unmount it, or end what holds it (`lsblk`, `fuser`)."),
  E_DISK_DENIED: refused(403, "The disk may not be written", "Check its owner and mode, and that it is not read-only."),
  E_DISK_TOO_SMALL: refused(422, "The device is smaller than the disk", "Use a device of the size that is named."),
  E_DISK_FULL: retry(507, "There is no room for the disk", "Free space or give another place, then run it again."),
  E_DISK_IO: retry(
    500,
    "Writing or reading the disk failed",
    "Check the device or file system (dmesg), then run it again.",
  ),
  E_DISK_READ_BACK: retry(
    500,
    "The disk does not hold what was written to it",
    "Do not use it: its device or file system is faulty. Write it to another one.",
  ),

  E_UPLOAD_LOCKED: retry(
    423,
    "The upload is complete and its image is being stored",
    "Ask again; the answer is 200 once it is stored.",
  ),
  E_UPLOAD_DONE: refused(409, "This upload has already ended", "Ask for a new upload URL."),
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
  // The images service
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
    "Put the missing part back from a backup, or run `dvcr restore check` to see what can be made again from what is there.",
  ),
  E_STORE_DAMAGED: refused(
    500,
    "The database of the resources is damaged",
    "Put a backup of the data directory back, or run `dvcr restore run`: it keeps the damaged file and makes the resources again from the stored images.",
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

export type ErrorCode = keyof typeof catalogue;

/** True when `code` stands in the catalogue. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(catalogue, code);
}
