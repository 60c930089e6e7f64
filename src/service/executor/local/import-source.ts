import { importOptions } from "../../../config/import-options.ts";
import { makeSource, type SourceDescription } from "../../../endpoints/sources.ts";
import type { DvcrError } from "../../../errors/dvcr-error.ts";
import type { Logger } from "../../../log/logger.ts";
import { defaultRetryPolicy } from "../../../retry/retry.ts";
import type { Source } from "../../../source/source.ts";
import type { JobSource } from "../executor.ts";
import type { ExecutorSettings } from "./settings.ts";

type Fetched = Extract<JobSource, { type: "http" | "registry" }>;

/**
 * A source that is fetched from elsewhere; `onRetry` is called with what it tries again. Throws E_USAGE for a name that
 * is none.
 */
export function fetchedSource(
  source: Fetched,
  settings: ExecutorSettings,
  log: Logger,
  onRetry: (error: DvcrError) => void,
): Source {
  const { outbound, sourceInsecureTls, proxies } = settings;
  return makeSource(describeSource(source), {
    tls: {
      verify: !sourceInsecureTls,
      ...(source.caBundle === undefined ? {} : { authorities: [source.caBundle] }),
    },
    proxies,
    ...(outbound === undefined ? {} : { outbound }),
    retry: { ...defaultRetryPolicy, deadlineMs: settings.retrySeconds * 1000 },
    firstByteMs: settings.firstByteSeconds * 1000,
    allowPrivateRedirects: settings.allowPrivateRedirects,
    limits: importOptions(settings.image, []).limits,
    log,
    onRetry,
  });
}

function describeSource(source: Fetched): SourceDescription {
  if (source.type === "http") return { kind: "http", url: source.url };
  return {
    kind: "registry",
    image: `docker://${source.image}`,
    credentials: source.dockerConfig === undefined ? {} : { authConfig: source.dockerConfig },
  };
}
