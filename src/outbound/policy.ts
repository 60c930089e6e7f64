/** Which addresses a server that fetches on behalf of others may connect to. */
import { lookup as systemLookup, type LookupAddress } from "node:dns";
import { type BlockList, isIP, type LookupFunction } from "node:net";
import type { Dispatcher } from "undici";

import { DvcrError } from "../errors/dvcr-error.ts";
import { addressForms } from "./embedded-addresses.ts";
import { localNames, localNetworks } from "./local-targets.ts";
import { contains, networkList } from "./networks.ts";

export interface OutboundRules {
  /** Host names that alone may be named; `*.example.com` stands for every name below. Empty: all. */
  readonly allowHosts: readonly string[];
  readonly denyHosts: readonly string[];
  /** Addresses or networks (`10.0.0.0/8`, `fd00::/8`) that may be reached whatever the rules below say. */
  readonly allowAddresses: readonly string[];
  readonly denyAddresses: readonly string[];
  /** Refuses this machine, its link and cloud metadata services. */
  readonly refuseLocal: boolean;
}

/**
 * Judges names as they are written and addresses as they are connected to: the address that was judged is the one that
 * is used, so that a name that resolves differently the next time gains nothing. Every redirect and token realm passes
 * here too, since each is a request of its own.
 */
export class OutboundPolicy {
  readonly #rules: OutboundRules;
  readonly #allowed: BlockList;
  readonly #denied: BlockList;

  /** @throws DvcrError E_CONFIG for what is no address or network. */
  constructor(rules: OutboundRules) {
    this.#rules = rules;
    this.#allowed = networkList(rules.allowAddresses);
    this.#denied = networkList([...rules.denyAddresses, ...(rules.refuseLocal ? localNetworks : [])]);
  }

  /** @throws DvcrError E_TARGET_REFUSED. `host` as in URL.hostname, IPv6 in brackets or not. */
  checkHost(host: string): void {
    const name = host
      .replace(/^\[|\]$/g, "")
      .replace(/\.$/, "")
      .toLowerCase();
    const { allowHosts, denyHosts } = this.#rules;
    const isListed = (patterns: readonly string[]): boolean => patterns.some((pattern) => matches(pattern, name));
    const isAddress = isIP(name) !== 0;
    if (isListed(denyHosts) || (isAddress && !this.#mayReach(name))) throw refusal(name);
    if (!isListed(allowHosts) && this.#isLocalName(name)) throw refusal(name);
    if (allowHosts.length === 0 || isListed(allowHosts) || (isAddress && this.#isAllowed(name))) return;
    throw refusal(name);
  }

  /**
   * For net.connect: the addresses of a name, less those that may not be reached; E_TARGET_REFUSED where none is left.
   */
  readonly lookup: LookupFunction = (hostname, options, callback) => {
    systemLookup(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
      const usable = error === null ? addresses.filter(({ address }) => this.#mayReach(address)) : [];
      const [first] = usable;
      if (first === undefined) callback(error ?? refusal(hostname), options.all === true ? [] : "", 0);
      else if (options.all === true) callback(null, usable);
      else callback(null, first.address, first.family);
    });
  };

  /** An interceptor that judges the host of every request. */
  readonly interceptor: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) => {
    if (options.origin !== undefined) this.checkHost(new URL(options.origin).hostname);
    return dispatch(options, handler);
  };

  /** Of a name that stands for an address which may be reached, the resolver has the last word. */
  #isLocalName(name: string): boolean {
    if (!this.#rules.refuseLocal) return false;
    return localNames.some((local) => matches(local.name, name) && !this.#isAllowed(local.address));
  }

  #isAllowed(address: string): boolean {
    return addressForms(address).some((form) => contains(this.#allowed, form));
  }

  #mayReach(address: string): boolean {
    return this.#isAllowed(address) || !addressForms(address).some((form) => contains(this.#denied, form));
  }
}

function refusal(host: string): DvcrError {
  return new DvcrError("E_TARGET_REFUSED", `connecting to ${host} is not allowed`);
}

function matches(pattern: string, name: string): boolean {
  const wanted = pattern.toLowerCase();
  return wanted.startsWith("*.") ? name.endsWith(wanted.slice(1)) : name === wanted;
}
