import { EnvHttpProxyAgent, type Dispatcher } from "undici";

import { secureContext, type TlsOptions } from "../../registry/tls.ts";

/** Proxies as the usual variables name them; empty means none. */
export interface ProxySettings {
  readonly httpProxy?: string | undefined;
  readonly httpsProxy?: string | undefined;
  /** Hosts reached without a proxy, separated by commas. */
  readonly noProxy?: string | undefined;
}

/** Connections for sources: TLS and proxies as configured, a few kept open per origin. */
export async function sourceDispatcher(tls: TlsOptions, proxies: ProxySettings): Promise<Dispatcher> {
  const connect = { secureContext: await secureContext(tls), rejectUnauthorized: tls.verify };
  return new EnvHttpProxyAgent({
    connect,
    requestTls: connect,
    proxyTls: connect,
    // Given also when empty: undici would read process.env itself.
    httpProxy: proxies.httpProxy ?? "",
    httpsProxy: proxies.httpsProxy ?? "",
    noProxy: proxies.noProxy ?? "",
  });
}
