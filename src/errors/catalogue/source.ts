/** Errors of where images come from. */
import { refused, retry, type ErrorEntry } from "./entry.ts";

export const sourceErrors = {
  E_SOURCE_NOT_FOUND: refused(404, "The source does not exist", "Check the path or URL."),
  E_SOURCE_DENIED: refused(
    403,
    "The source refuses access",
    "Check the credentials: --src-creds or --src-authfile (pods: IMPORTER_ACCESS_KEY_ID and " +
      "IMPORTER_SECRET_KEY, or IMPORTER_AUTH_CONFIG).",
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
    "Give its CA with --src-cert-dir (pods: IMPORTER_CERT_DIR), or --src-tls-verify=false " +
      "(pods: INSECURE_TLS=true) where you accept the risk.",
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
} as const satisfies Record<string, ErrorEntry>;
