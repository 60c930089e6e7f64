/** Where a registry's redirects and Locations may lead. */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { contains, networkList } from "../outbound/networks.ts";
import { describe, RegistryError, type Exchange } from "./errors.ts";

/**
 * How far from the public network an address is: `private` is a network of the site's own, `local` this machine. What
 * leads further in than the registry itself is refused; `any` refuses nothing.
 */
export type Reach = "public" | "private" | "local" | "any";

export interface RedirectRules {
  /** The registry's root. */
  readonly registry: URL;
  /** Where the registry is, or what is allowed in spite of it. */
  readonly reach: Reach;
}

const localNetworks = networkList(["0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128"]);
/** Link-local addresses, cloud metadata among them: nothing that a registry has business with. */
const linkNetworks = networkList(["169.254.0.0/16", "fe80::/10"]);
const privateNetworks = networkList(["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]);

const depth = { public: 0, private: 1, local: 2, any: 3 } as const;

/** Where a host is, by all of its addresses; a name that has none here, behind a proxy for one, counts as public. */
export async function reachOf(hostname: string): Promise<Exclude<Reach, "any">> {
  const host = hostname.replace(/^\[|\]$/g, "");
  const addresses = isIP(host) !== 0 ? [{ address: host }] : await lookup(host, { all: true }).catch(() => []);
  const reaches = addresses.map(({ address }) => reachOfAddress(address));
  if (reaches.length === 0 || reaches.includes("public") || reaches.includes("link")) return "public";
  return reaches.includes("private") ? "private" : "local";
}

/**
 * A Location resolved against the URL it came from. The registry's own host keeps the registry's scheme and port even
 * where a proxy in front of it made it forget its https. Elsewhere https never becomes http, and an address inside a
 * private network is followed only from a registry that is in one too.
 *
 * @throws RegistryError E_REGISTRY_REFUSED.
 */
export function resolveLocation(location: string, from: URL, rules: RedirectRules, exchange: Exchange): URL {
  const { registry, reach } = rules;
  const refuse = (reason: string) => new RegistryError("E_REGISTRY_REFUSED", `${describe(exchange)}: ${reason}`, {});
  if (!URL.canParse(location, from.href)) throw refuse("the Location it gave is not a URL");
  const url = new URL(location, from);
  url.username = url.password = "";
  if (url.protocol !== "https:" && url.protocol !== "http:")
    throw refuse(`the Location it gave has the scheme ${url.protocol}`);
  if (url.hostname === registry.hostname) {
    if (url.protocol === "http:" && registry.protocol === "https:") {
      url.protocol = "https:";
      url.port = registry.port;
    }
    return url;
  }
  if (url.protocol === "http:" && registry.protocol === "https:")
    throw refuse(`it points from https to http at ${url.host}`);
  const target = literalReach(url.hostname);
  if (reach === "any" || (target !== "link" && depth[target] <= depth[reach])) return url;
  throw refuse(
    `it points to the private address ${url.host}; allow that with --allow-private-redirects ` +
      "(pods: DVCR_ALLOW_PRIVATE_REDIRECTS=true; service: " +
      "DVCR_SERVE_ALLOW_PRIVATE_REDIRECTS=true) where it is right",
  );
}

/** Of a name nothing is known; the outbound policy, where there is one, judges what it resolves to. */
function literalReach(hostname: string): Exclude<Reach, "any"> | "link" {
  const address = hostname.replace(/^\[|\]$/g, "");
  if (hostname === "localhost") return "local";
  return isIP(address) === 0 ? "public" : reachOfAddress(address);
}

function reachOfAddress(address: string): Exclude<Reach, "any"> | "link" {
  const [bare = ""] = address.split("%");
  if (contains(linkNetworks, bare)) return "link";
  if (contains(localNetworks, bare)) return "local";
  return contains(privateNetworks, bare) ? "private" : "public";
}
