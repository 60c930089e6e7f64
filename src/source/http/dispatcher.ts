import { EnvHttpProxyAgent, type Dispatcher } from "undici";

import type { OutboundPolicy } from "../../outbound/policy.ts";
import { secureContext, type TlsOptions } from "../../registry/tls.ts";

/** Proxies as the usual variables name them; empty means none. */
export interface ProxySettings {
  readonly httpProxy?: string | undefined;
  readonly httpsProxy?: string | undefined;
  /** Hosts reached without a proxy, separated by commas. */
  readonly noProxy?: string | undefined;
}

/**
 * Connections for sources: TLS and proxies as configured, a few kept open per origin. With a proxy `outbound` judges the
 * names that are asked for, and the proxy resolves them.
 */
export async function sourceDispatcher(tls: TlsOptions, proxies: ProxySettings, outbound?: OutboundPolicy): Promise<Dispatcher> {
  const trust = { secureContext: await secureContext(tls), rejectUnauthorized: tls.verify };
  const connect = outbound === undefined ? trust : { ...trust, lookup: outbound.lookup };
  const agent = new EnvHttpProxyAgent({
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
