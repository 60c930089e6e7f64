import type { DvcrError } from "../errors/dvcr-error.ts";

/**
 * The text of a failure as it is reported to the controller. That a registry is full is recognised there by the
 * registry's host, "POST" and "Err:28 " (ENOSPC), wherever in the push it was met.
 */
export function terminationText(error: DvcrError, destination: string): string {
  if (error.code !== "E_REGISTRY_FULL") return error.toLine();
  const host = destination.replace(/^docker:\/\//, "").split("/")[0] ?? "";
  return `${error.toLine()} (POST https://${host}/v2/: Err:28 no space left on device)`;
}
