/** Requests to one registry: finds it, authorises, retries by the table. Everything above it speaks in repositories. */
import { systemClock, type Clock } from "../retry/clock.ts";
import type { Failure } from "../retry/failure.ts";
import { defaultRetryPolicy, retrying, type Phase, type RetryEvent, type RetryPolicy } from "../retry/retry.ts";
import { Authorizer } from "./authorizer.ts";
import type { CredentialSource } from "./credentials.ts";
import type { ProxySettings } from "../outbound/dispatcher.ts";
import type { OutboundPolicy } from "../outbound/policy.ts";
import { describe, errorFromAnswer, errorFromNetwork, RegistryError, type Exchange } from "./errors.ts";
import { PushTraits } from "./push-traits.ts";
import { reachOf, resolveLocation, type RedirectRules } from "./redirects.ts";
import { dockerHub } from "./reference.ts";
import { fetchToken } from "./token.ts";
import type { TlsOptions } from "../outbound/tls.ts";
import {
  discard,
  header,
  readText,
  Transport,
  type BodyFactory,
  type Headers,
  type HttpRequest,
  type HttpResponse,
} from "./transport.ts";

export interface RegistryOptions {
  /** `host` or `host:port`. */
  readonly host: string;
  readonly tls: TlsOptions;
  readonly credentials: CredentialSource;
  readonly retry?: RetryPolicy;
  /**
   * How long a registry that has never answered is waited for, in milliseconds: a mistyped name should not take as
   * long to show as garbage collection takes to pass. Default 15 s.
   */
  readonly firstContactMs?: number;
  readonly stallTimeoutMs?: number;
  /** Judges the registry's own address and every other that it points to. Missing: all may be reached. */
  readonly outbound?: OutboundPolicy;
  /** Missing: no proxy. */
  readonly proxies?: ProxySettings;
  /**
   * Images are written here: what is read is asked for with the right to write too. A token service may grant `pull`
   * alone only for a repository that exists.
   */
  readonly forPush?: boolean;
  /** Redirects and Locations may lead to private addresses also where the registry itself is on a public one. */
  readonly allowPrivateRedirects?: boolean;
  readonly clock?: Clock;
  /** Told before each pause; for logs. */
  readonly onRetry?: (event: RetryEvent) => void;
}

export interface RegistryRequest {
  readonly method: HttpRequest["method"];
  /** A path below the registry's root, or a Location that it gave, resolved by locationOf(). */
  readonly target: string | URL;
  readonly scopes: readonly string[];
  readonly headers?: Headers;
  readonly body?: BodyFactory;
  /** Statuses that are an answer, not an error. */
  readonly ok: readonly number[];
  readonly answerTimeoutMs?: number;
}

const defaultFirstContactMs = 15_000;

export class RegistryClient {
  readonly host: string;
  readonly clock: Clock;
  readonly retry: RetryPolicy;
  readonly onRetry: ((event: RetryEvent) => void) | undefined;
  /** What uploads have learned of the registry. */
  readonly traits = new PushTraits();
  readonly #options: RegistryOptions;
  readonly #transport: Transport;
  readonly #authorizer: Authorizer;
  #base: URL | undefined;
  #rules: RedirectRules | undefined;

  constructor(options: RegistryOptions) {
    this.host = options.host;
    this.clock = options.clock ?? systemClock;
    this.retry = options.retry ?? defaultRetryPolicy;
    this.onRetry = options.onRetry;
    this.#options = options;
    this.#transport = new Transport(options);
    this.#authorizer = new Authorizer(options.credentials, this.clock, (challenge, scopes, credentials, signal) => {
      const allowPlainRealm = !options.tls.verify || this.#base?.protocol === "http:";
      const request = { host: this.host, challenge, scopes, credentials, allowPlainRealm, signal };
      const exchange = {
        host: this.host,
        method: "token request to",
        path: challenge.parameters["realm"]?.split("?")[0] ?? "",
      };
      return fetchToken(request, (spec) => this.#transport.send(spec)).catch((error: unknown) => {
        throw errorFromNetwork(exchange, error, signal);
      });
    });
  }

  /** How the registry asks for credentials. */
  get challenge(): "none" | "basic" | "bearer" {
    return this.#authorizer.scheme;
  }

  /** The scopes for reading from `repository`. */
  scopes(repository: string): readonly string[] {
    return [`repository:${repository}:${this.#options.forPush === true ? "pull,push" : "pull"}`];
  }

  /** As sendOnce(), tried again by the table until the policy's deadline. Only for bodies that can be made anew. */
  send(spec: RegistryRequest, signal: AbortSignal): Promise<HttpResponse> {
    return this.retrying(() => this.sendOnce(spec, signal), signal);
  }

  /** Runs anything made of sendOnce() by the table and this registry's policy. */
  retrying<T>(attempt: () => Promise<T>, signal: AbortSignal, phase: Phase = "request"): Promise<T> {
    return retrying(attempt, {
      peer: "registry",
      phase,
      signal,
      policy: this.retry,
      clock: this.clock,
      deadlineMs: (failure) => this.deadlineFor(failure),
      ...(this.onRetry === undefined ? {} : { onRetry: this.onRetry }),
    });
  }

  /** Milliseconds for which a failure is waited out. */
  deadlineFor(failure: Failure): number {
    const silent = this.#base === undefined && failure.status === undefined;
    return silent
      ? Math.min(this.retry.deadlineMs, this.#options.firstContactMs ?? defaultFirstContactMs)
      : this.retry.deadlineMs;
  }

  /**
   * One request, authorised, once more with fresh credentials after a 401. Redirects are followed, of other methods
   * than GET and HEAD those that keep the method (307, 308); other origins than the registry's see no credentials.
   *
   * @throws RegistryError for any status not in `ok` and for no answer; DvcrError E_CANCELLED.
   */
  async sendOnce(spec: RegistryRequest, signal: AbortSignal): Promise<HttpResponse> {
    const base = await this.#contact(signal);
    const url = typeof spec.target === "string" ? new URL(spec.target, base) : spec.target;
    const exchange = { host: this.host, method: spec.method, path: url.pathname };
    try {
      const authorization = await this.#authorization(url, base, spec.scopes, signal);
      let response = await this.#exchange(spec, url, base, authorization, exchange, signal);
      if (response.status === 401 && response.url.origin === base.origin && !spec.ok.includes(401)) {
        const text = await readText(response);
        this.#authorizer.challenged(response.headers["www-authenticate"]);
        await this.#authorizer.renew();
        const renewed = await this.#authorization(url, base, spec.scopes, signal);
        if (renewed === undefined || renewed === authorization)
          throw errorFromAnswer(exchange, 401, text, {}, this.#authorizer.secrets);
        response = await this.#exchange(spec, url, base, renewed, exchange, signal);
      }
      if (spec.ok.includes(response.status)) return response;
      const text = await readText(response);
      throw errorFromAnswer(exchange, response.status, text, response.headers, this.#authorizer.secrets);
    } catch (error) {
      throw errorFromNetwork(exchange, error, signal);
    }
  }

  /** Runs the reading of an answer's body, with its failures told as those of the exchange. */
  async reading<T>(exchange: Exchange, signal: AbortSignal, read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      throw errorFromNetwork(exchange, error, signal);
    }
  }

  /** A response's Location as a URL that requests may be sent to; credentials go only to the registry's own origin. */
  locationOf(response: HttpResponse, exchange: Pick<Exchange, "method" | "path">): URL {
    const location = header(response.headers, "location");
    const named = { host: this.host, ...exchange };
    if (location === undefined)
      throw new RegistryError("E_REGISTRY_REFUSED", `${describe(named)}: the answer has no Location`, {});
    return resolveLocation(location, response.url, this.#rules ?? { registry: response.url, reach: "public" }, named);
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  #exchange(
    spec: RegistryRequest,
    url: URL,
    base: URL,
    authorization: string | undefined,
    exchange: Exchange,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const { method, headers = {}, body, answerTimeoutMs } = spec;
    const request = {
      method,
      url,
      headers,
      signal,
      ...(body === undefined ? {} : { body }),
      ...(answerTimeoutMs === undefined ? {} : { answerTimeoutMs }),
    };
    const authorize = (target: URL): Headers =>
      authorization !== undefined && target.origin === base.origin ? { authorization } : {};
    return this.#transport.sendFollowing(request, exchange, this.#rules!, authorize);
  }

  #authorization(url: URL, base: URL, scopes: readonly string[], signal: AbortSignal): Promise<string | undefined> {
    return url.origin === base.origin ? this.#authorizer.header(scopes, signal) : Promise.resolve(undefined);
  }

  /** The registry's root, found by its `/v2/` answering 200 or 401: by https, or where nothing is verified by http. */
  async #contact(signal: AbortSignal): Promise<URL> {
    if (this.#base !== undefined) return this.#base;
    const name = this.host === dockerHub ? "registry-1.docker.io" : this.host;
    let reported: RegistryError | undefined;
    for (const scheme of this.#options.tls.verify ? ["https"] : ["https", "http"]) {
      const base = new URL(`${scheme}://${name}`);
      try {
        const found = await this.#ping(base, signal);
        this.#rules = await this.#rulesFor(found);
        this.#base = found;
        return found;
      } catch (error) {
        const failed = errorFromNetwork({ host: this.host, method: "GET", path: "/v2/" }, error, signal);
        // An answer decides; only silence and TLS trouble are a reason to try the other scheme.
        if (!(failed instanceof RegistryError) || failed.failure.status !== undefined) throw failed;
        // Not speaking TLS is expected of one of the two; what else failed says more.
        if (reported === undefined || reported.code === "E_REGISTRY_TLS") reported = failed;
      }
    }
    throw reported as RegistryError;
  }

  /** @returns the registry's root: another scheme or port of the same host where it redirects there for good. */
  async #ping(base: URL, signal: AbortSignal): Promise<URL> {
    const exchange = { host: this.host, method: "GET", path: "/v2/" };
    const request = { method: "GET", url: new URL("/v2/", base), signal } as const;
    const response = await this.#transport.sendFollowing(request, exchange, await this.#rulesFor(base), () => ({}));
    if (response.status === 401) this.#authorizer.challenged(response.headers["www-authenticate"]);
    else if (response.status !== 200) {
      throw errorFromAnswer(exchange, response.status, await readText(response), response.headers);
    }
    await discard(response);
    return response.url.hostname === base.hostname ? new URL(response.url.origin) : base;
  }

  async #rulesFor(registry: URL): Promise<RedirectRules> {
    if (this.#options.allowPrivateRedirects === true) return { registry, reach: "any" };
    return { registry, reach: await reachOf(registry.hostname) };
  }
}
