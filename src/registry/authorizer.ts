/** The Authorization header for a registry's own origin: none, Basic or Bearer, as the registry asks for. */
import type { Clock } from "../retry/clock.ts";
import { parseChallenges, type Challenge } from "./challenge.ts";
import type { Credentials, CredentialSource } from "./credentials.ts";
import { basicAuthorization, type Token } from "./token.ts";

export type FetchToken = (
  challenge: Challenge,
  scopes: readonly string[],
  credentials: Credentials | undefined,
  signal: AbortSignal,
) => Promise<Token>;

/** A token is not used in its last part, so that it does not expire on the way. */
const spareShare = 0.1;

export class Authorizer {
  readonly #source: CredentialSource;
  readonly #clock: Clock;
  readonly #fetchToken: FetchToken;
  readonly #tokens = new Map<string, { readonly value: string; readonly until: number }>();
  #challenge: Challenge | undefined;
  #credentials: Credentials | undefined;
  #loaded = false;

  constructor(source: CredentialSource, clock: Clock, fetchToken: FetchToken) {
    this.#source = source;
    this.#clock = clock;
    this.#fetchToken = fetchToken;
  }

  /** What the registry has asked for so far. */
  get scheme(): "none" | "basic" | "bearer" {
    return this.#challenge === undefined ? "none" : this.#challenge.scheme === "basic" ? "basic" : "bearer";
  }

  /** Strings that must not appear in messages. */
  get secrets(): readonly string[] {
    const { password, identityToken, registryToken } = this.#credentials ?? {};
    const basic = basicAuthorization(this.#credentials)?.slice("Basic ".length);
    const tokens = [...this.#tokens.values()].map((token) => token.value);
    return [password, identityToken, registryToken, basic, ...tokens].filter((secret) => secret !== undefined);
  }

  /** Takes note of what a 401 asks for; Bearer is preferred to Basic. */
  challenged(wwwAuthenticate: string | readonly string[] | undefined): void {
    const challenges = parseChallenges(wwwAuthenticate);
    const found = challenges.find((one) => one.scheme === "bearer") ?? challenges.find((one) => one.scheme === "basic");
    this.#challenge = found ?? this.#challenge;
  }

  /** The header's value for a request that needs `scopes`; nothing where the registry has asked for none. */
  async header(scopes: readonly string[], signal: AbortSignal): Promise<string | undefined> {
    if (this.#challenge === undefined) return undefined;
    await this.#load();
    if (this.#challenge.scheme === "basic") return basicAuthorization(this.#credentials);
    if (this.#credentials?.registryToken !== undefined) return `Bearer ${this.#credentials.registryToken}`;
    const key = [...scopes].sort().join(" ");
    const known = this.#tokens.get(key);
    if (known !== undefined && known.until > this.#clock.now()) return `Bearer ${known.value}`;
    const token = await this.#fetchToken(this.#challenge, scopes, this.#credentials, signal);
    this.#tokens.set(key, { value: token.value, until: this.#clock.now() + token.lifetimeMs * (1 - spareShare) });
    return `Bearer ${token.value}`;
  }

  /** Forgets tokens and reads the credentials again: after a 401 they may have been rotated. */
  async renew(): Promise<void> {
    this.#tokens.clear();
    this.#loaded = false;
    await this.#load();
  }

  async #load(): Promise<void> {
    if (this.#loaded) return;
    this.#credentials = await this.#source();
    this.#loaded = true;
  }
}
