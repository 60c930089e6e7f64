import type { Logger } from "../../../log/logger.ts";
import { importOptions } from "../../../config/import-options.ts";
import type { DvcrError } from "../../../errors/dvcr-error.ts";
import { logRetries } from "../../../log/events.ts";
import { defaultRetryPolicy, type RetryEvent } from "../../../retry/retry.ts";
import { httpSource } from "../../../source/http/http-source.ts";
import { sourceError } from "../../../source/registry/errors.ts";
import { registrySource } from "../../../source/registry/registry-source.ts";
import type { Source } from "../../../source/source.ts";
import type { JobSource } from "../executor.ts";
import type { ExecutorSettings } from "./settings.ts";

/** A source that is fetched from elsewhere; `onRetry` is told what it tries again. Throws E_USAGE for a name that is none. */
export function fetchedSource(
  source: Extract<JobSource, { type: "http" | "registry" }>,
  settings: ExecutorSettings,
  log: Logger,
  onRetry: (error: DvcrError) => void,
): Source {
  const { outbound, sourceInsecureTls, proxies } = settings;
  const tls = {
    verify: !sourceInsecureTls,
    ...(source.caBundle === undefined ? {} : { authorities: [source.caBundle] }),
  };
  const policy = { ...defaultRetryPolicy, deadlineMs: settings.retrySeconds * 1000 };
  const logRetry = logRetries(log, "source");
  const retried = (event: RetryEvent): void => {
    logRetry(event);
    onRetry(sourceError(event.error));
  };
  const reach = outbound === undefined ? {} : { outbound };
  if (source.type === "http") {
    return httpSource(source.url, {
      tls,
      proxies,
      headers: {},
      policy,
      onRetry: retried,
      onNotice: (text) => {
        log.warn(text);
      },
      ...reach,
    });
  }
  return registrySource(`docker://${source.image}`, {
    tls,
    credentials: source.dockerConfig === undefined ? {} : { authConfig: source.dockerConfig },
    limits: importOptions(settings.image, []).limits,
    retry: policy,
    onRetry: retried,
    ...reach,
  });
}
