/** Errors of registries and image layouts. */
import { refused, retry, type ErrorEntry } from "./entry.ts";

export const registryErrors = {
  E_REGISTRY_DENIED: refused(
    502,
    "The registry refuses access",
    "Check that the credentials may push to this repository: --dest-creds or --authfile (pods: " +
      "IMPORTER_DESTINATION_AUTH_CONFIG, UPLOADER_DESTINATION_AUTH_CONFIG).",
  ),
  E_REGISTRY_FULL: refused(507, "The registry has no space left", "Free space in the registry, then import again."),
  E_REGISTRY_REFUSED: refused(502, "The registry refused the image", "Read the registry's reason in the message."),
  E_REGISTRY_INCOMPLETE: retry(
    502,
    "The registry does not hold what it said it had taken",
    "Nothing was tagged. Run `dvcr doctor docker://REPO`, or look for a proxy or an object " +
      "store behind the registry that loses parts of an upload.",
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
    "Give its CA with --dest-cert-dir (pods: IMPORTER_DESTINATION_CA_BUNDLE, " +
      "UPLOADER_DESTINATION_CA_BUNDLE), or --dest-tls-verify=false (pods: " +
      "DESTINATION_INSECURE_TLS=true) where you accept the risk.",
  ),
  E_LAYOUT_IO: retry(507, "Writing the OCI layout directory failed", "Check its permissions and free space."),
} as const satisfies Record<string, ErrorEntry>;
