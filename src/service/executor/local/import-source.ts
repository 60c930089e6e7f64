import type { Logger } from "../../../log/logger.ts";
import { importOptions } from "../../../config/import-options.ts";
import { logRetries } from "../../../log/events.ts";
import { defaultRetryPolicy } from "../../../retry/retry.ts";
import { httpSource } from "../../../source/http/http-source.ts";
import { registrySource } from "../../../source/registry/registry-source.ts";
import type { Source } from "../../../source/source.ts";
import type { JobSource } from "../executor.ts";
import type { ExecutorSettings } from "./settings.ts";

/** A source that is fetched from elsewhere. Throws E_USAGE for a name that is none. */
export function fetchedSource(source: Extract<JobSource, { type: "http" | "registry" }>, settings: ExecutorSettings, log: Logger): Source {
  const { outbound, sourceInsecureTls, proxies } = settings;
  const tls = { verify: !sourceInsecureTls, ...(source.caBundle === undefined ? {} : { authorities: [source.caBundle] }) };
  const policy = { ...defaultRetryPolicy, deadlineMs: settings.retrySeconds * 1000 };
  const onRetry = logRetries(log, "source");
  const reach = outbound === undefined ? {} : { outbound };
  if (source.type === "http") {
    return httpSource(source.url, { tls, proxies, headers: {}, policy, onRetry, onNotice: (text) => { log.warn(text); }, ...reach });
  }
  return registrySource(`docker://${source.image}`, {
    tls,
    credentials: source.dockerConfig === undefined ? {} : { authConfig: source.dockerConfig },
    limits: importOptions(settings.image, []).limits,
    retry: policy,
    onRetry,
    ...reach,
  });
}
