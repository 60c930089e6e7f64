import { Agent, EnvHttpProxyAgent, type Dispatcher } from "undici";

import { secureContext, type TlsOptions } from "./tls.ts";
import "./paused-end.ts";
import type { OutboundPolicy } from "./policy.ts";
import "./unasked-continue.ts";

/** Proxies as the usual variables name them; empty means none. */
export interface ProxySettings {
  readonly httpProxy?: string | undefined;
  readonly httpsProxy?: string | undefined;
  /** Hosts reached without a proxy, separated by commas. */
  readonly noProxy?: string | undefined;
}

export interface DispatcherOptions {
  readonly tls: TlsOptions;
  /** Missing: no proxy. */
  readonly proxies?: ProxySettings | undefined;
  /** Missing: every address may be reached. */
  readonly outbound?: OutboundPolicy | undefined;
  /** Milliseconds that a connection may take to come about. Default: undici's. */
  readonly connectTimeoutMs?: number;
}

/**
 * Connections to sources and registries: TLS and proxies as configured, a few kept open per origin. With a proxy
 * `outbound` judges the names that are asked for, and the proxy resolves them.
 */
export async function outboundDispatcher({
  tls,
  proxies,
  outbound,
  connectTimeoutMs,
}: DispatcherOptions): Promise<Dispatcher> {
  const connect = {
    secureContext: await secureContext(tls),
    rejectUnauthorized: tls.verify,
    ...(outbound === undefined ? {} : { lookup: outbound.lookup }),
    ...(connectTimeoutMs === undefined ? {} : { timeout: connectTimeoutMs }),
  };
  const agent =
    proxies === undefined
      ? new Agent({ connect })
      : new EnvHttpProxyAgent({
          connect,
          requestTls: connect,
          proxyTls: connect,
          // Given also when empty: undici would read process.env itself.
          httpProxy: proxies.httpProxy ?? "",
          httpsProxy: proxies.httpsProxy ?? "",
          noProxy: proxies.noProxy ?? "",
        });
  return outbound === undefined ? agent : agent.compose(outbound.interceptor);
}
