import type { ErrorCode } from "../../errors/catalogue.ts";
import { DvcrError, toDvcrError } from "../../errors/dvcr-error.ts";
import { FailureError } from "../../retry/failure.ts";

/**
 * What a registry's refusals are called where it is the source: the advice in the catalogue names the source's flags.
 */
const sourceCodes: Partial<Record<ErrorCode, ErrorCode>> = {
  E_REGISTRY_DENIED: "E_SOURCE_DENIED",
  E_REGISTRY_FULL: "E_SOURCE_IO",
  E_REGISTRY_READONLY: "E_SOURCE_IO",
  E_REGISTRY_REFUSED: "E_SOURCE_HTTP",
  E_REGISTRY_TLS: "E_SOURCE_TLS",
  E_REGISTRY_UNAVAILABLE: "E_SOURCE_IO",
};

/** `error` as one of the source. */
export function sourceError(error: unknown): DvcrError {
  const known = toDvcrError(error);
  const missing = known instanceof FailureError && known.code === "E_REGISTRY_REFUSED" && known.failure.status === 404;
  const code = missing ? "E_SOURCE_NOT_FOUND" : sourceCodes[known.code];
  return code === undefined ? known : new DvcrError(code, known.message, { cause: known });
}

/** Runs `work` with its errors as those of the source. */
export async function asSource<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw sourceError(error);
  }
}
