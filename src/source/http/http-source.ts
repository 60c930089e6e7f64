import { DvcrError } from "../../errors/dvcr-error.ts";
import { outboundDispatcher, type ProxySettings } from "../../outbound/dispatcher.ts";
import type { OutboundPolicy } from "../../outbound/policy.ts";
import type { TlsOptions } from "../../outbound/tls.ts";
import { systemClock, type Clock } from "../../retry/clock.ts";
import { defaultRetryPolicy, type RetryEvent, type RetryPolicy } from "../../retry/retry.ts";
import type { Source } from "../source.ts";
import { Download } from "./download.ts";
import { defaultParallel, type ParallelOptions } from "./parallel.ts";
import { RemoteFile } from "./remote-file.ts";
import { describe, type HttpClientOptions, type TimeLimits } from "./request.ts";

export interface HttpSourceOptions extends Omit<HttpClientOptions, "limits" | "dispatcher"> {
  readonly tls: TlsOptions;
  readonly proxies: ProxySettings;
  readonly limits?: Partial<TimeLimits>;
  readonly policy?: RetryPolicy;
  readonly clock?: Clock;
  readonly onRetry?: (event: RetryEvent) => void;
  /** Told in one line what a person reading the log should know. */
  readonly onNotice?: (text: string) => void;
  readonly parallel?: ParallelOptions;
  /** Missing: every address may be reached. */
  readonly outbound?: OutboundPolicy;
}

const defaultLimits: TimeLimits = { firstByteMs: 60_000, stallMs: 60_000 };

/**
 * A file behind http:// or https://. A broken or stalled connection is continued where it stopped, by Range and
 * If-Range; a file that changed meanwhile is E_SOURCE_CHANGED, never mixed. Where one connection proves to be what
 * limits the import, several ranges are fetched simultaneously. All requests beyond the first connection are optional:
 * where one fails, that connection alone brings the file.
 *
 * @throws DvcrError E_USAGE for what is no such URL.
 */
export function httpSource(url: string, options: HttpSourceOptions): Source {
  const { target, credentials } = splitUrl(url);
  const all = { ...options, ...(credentials ? { credentials } : {}) };
  let download: Download | undefined;
  return {
    description: describe(target),
    replayable: false,
    get refetchable() {
      return download && download.ranges !== undefined;
    },
    open: async (signal) => {
      const dispatcher = await outboundDispatcher(options);
      const abort = new AbortController();
      const file = new RemoteFile(target, {
        ...all,
        dispatcher,
        limits: { ...defaultLimits, ...options.limits },
        onNotice: options.onNotice ?? (() => undefined),
      });
      const ends = AbortSignal.any([signal, abort.signal]);
      const opening = new Download(file, ends, {
        policy: options.policy ?? defaultRetryPolicy,
        clock: options.clock ?? systemClock,
        onRetry: options.onRetry,
        onNotice: options.onNotice ?? (() => undefined),
        parallel: options.parallel ?? defaultParallel,
      });
      await opening.open().catch(async (error: unknown) => {
        await dispatcher.destroy();
        throw error;
      });
      download = opening;
      const { ranges } = opening;
      return {
        ...(file.size === undefined ? {} : { size: file.size }),
        sentBy: file.sentBy,
        chunks: opening.chunks(),
        received: () => opening.received,
        ...(ranges
          ? { readRange: (offset: number, length: number) => ranges.read(offset, length, { signal: ends }) }
          : {}),
        close: async () => {
          abort.abort(new DvcrError("E_CANCELLED", "the source was closed"));
          opening.close();
          await dispatcher.destroy();
        },
      };
    },
  };
}

function splitUrl(text: string) {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== "http:" && url.protocol !== "https:"))
    throw new DvcrError("E_USAGE", "the source is not an http:// or https:// URL");
  const credentials =
    url.username === "" && url.password === ""
      ? undefined
      : { username: unescaped(url.username), password: unescaped(url.password) };
  url.username = "";
  url.password = "";
  url.hash = "";
  return { target: url, credentials };
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new DvcrError("E_USAGE", "the user or password in the source's URL is not percent-encoded as it should be");
  }
}
