/**
 * Bearer tokens (distribution spec, token authentication): asked for at the realm, kept per scope until they expire.
 */
import type { Credentials } from "./credentials.ts";
import type { Challenge } from "./challenge.ts";
import { errorFromAnswer, RegistryError } from "./errors.ts";
import { readBytes, readText, type HttpRequest, type HttpResponse } from "./transport.ts";

export interface TokenRequest {
  /** Registry's host, for messages. */
  readonly host: string;
  readonly challenge: Challenge;
  readonly scopes: readonly string[];
  readonly credentials: Credentials | undefined;
  /** Whether the realm may be plain http: only where the registry itself is, or nothing is verified. */
  readonly allowPlainRealm: boolean;
  readonly signal: AbortSignal;
}

export interface Token {
  readonly value: string;
  /** Milliseconds it is good for, from now. */
  readonly lifetimeMs: number;
}

const clientId = "dvcr-data-plane";
/** What the specification says of a token that does not tell. */
const defaultLifetimeSeconds = 60;
const maxTokenAnswer = 1024 * 1024;

/**
 * Asks the realm for a token: GET with Basic, or POST with the refresh token where there is one.
 *
 * @throws RegistryError E_REGISTRY_DENIED where the realm refuses.
 */
export async function fetchToken(
  spec: TokenRequest,
  send: (request: HttpRequest) => Promise<HttpResponse>,
): Promise<Token> {
  const realm = parseRealm(spec);
  const exchange = { host: spec.host, method: "token request to", path: realm.origin + realm.pathname };
  const response = await send({ ...requestFor(spec, realm), signal: spec.signal });
  if (response.status !== 200) {
    const { password, identityToken } = spec.credentials ?? {};
    const secrets = [password, identityToken].filter((secret) => secret !== undefined);
    throw errorFromAnswer(exchange, response.status, await readText(response), response.headers, secrets);
  }
  const answer = parseAnswer(await readBytes(response, maxTokenAnswer, exchange));
  if (answer === undefined)
    throw new RegistryError(
      "E_REGISTRY_REFUSED",
      `registry ${spec.host}: the token service's answer holds no token`,
      {},
    );
  return answer;
}

function parseRealm(spec: TokenRequest): URL {
  const text = spec.challenge.parameters["realm"] ?? "";
  const realm = URL.canParse(text) ? new URL(text) : undefined;
  if (realm?.protocol === "https:" || (realm?.protocol === "http:" && spec.allowPlainRealm)) return realm;
  throw new RegistryError("E_REGISTRY_REFUSED", `registry ${spec.host}: its token realm is not an https URL`, {});
}

function requestFor(spec: TokenRequest, realm: URL): Omit<HttpRequest, "signal"> {
  const { credentials, challenge, scopes } = spec;
  const service = challenge.parameters["service"];
  if (credentials?.identityToken !== undefined) {
    const form = new URLSearchParams({
      grant_type: "refresh_token",
      client_id: clientId,
      refresh_token: credentials.identityToken,
    });
    if (service !== undefined) form.set("service", service);
    form.set("scope", scopes.join(" "));
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    return { method: "POST", url: realm, headers, body: () => Buffer.from(form.toString()) };
  }
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set("service", service);
  for (const scope of scopes) url.searchParams.append("scope", scope);
  const basic = basicAuthorization(credentials);
  return { method: "GET", url, ...(basic === undefined ? {} : { headers: { authorization: basic } }) };
}

/** `Basic …` for a user and password. */
export function basicAuthorization(credentials: Credentials | undefined): string | undefined {
  if (credentials?.username === undefined || credentials.password === undefined) return undefined;
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64")}`;
}

function parseAnswer(bytes: Buffer): Token | undefined {
  let answer: { token?: unknown; access_token?: unknown; expires_in?: unknown } | null;
  try {
    answer = JSON.parse(bytes.toString("utf8")) as typeof answer;
  } catch {
    return undefined;
  }
  const value = answer?.token ?? answer?.access_token;
  if (typeof value !== "string" || value === "") return undefined;
  const seconds =
    typeof answer?.expires_in === "number" && answer.expires_in > 0 ? answer.expires_in : defaultLifetimeSeconds;
  return { value, lifetimeMs: seconds * 1000 };
}
