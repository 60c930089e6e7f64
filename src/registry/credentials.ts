/** Credentials for registries: given outright, or looked up in docker and containers configuration files. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DvcrError } from "../errors/dvcr-error.ts";
import { dockerHub } from "./reference.ts";

export interface Credentials {
  readonly username?: string;
  readonly password?: string;
  /** A refresh token for the Bearer flow. */
  readonly identityToken?: string;
  /** A Bearer token to be used as it is. */
  readonly registryToken?: string;
}

/** Asked at first use and again after a 401: mounted secrets are rotated while an import runs. */
export type CredentialSource = () => Promise<Credentials | undefined>;

export interface CredentialOptions {
  /** `user:password`; wins over any file. */
  readonly userPassword?: string;
  /** A configuration file, or a directory that holds one; it must exist. */
  readonly authFile?: string;
  /** The text of a configuration file; read where neither of the above is given. */
  readonly authConfig?: string;
  /** Files tried in order where none of the above is given; they need not exist. See defaultAuthFiles(). */
  readonly defaultAuthFiles?: readonly string[];
}

interface AuthEntry {
  readonly auth?: unknown;
  readonly username?: unknown;
  readonly password?: unknown;
  readonly identitytoken?: unknown;
  readonly registrytoken?: unknown;
}

const hubKeys = ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"];

/** Where docker and the containers tools look, in their order. `env` is the process's environment. */
export function defaultAuthFiles(env: Readonly<Record<string, string | undefined>>): string[] {
  const { REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, XDG_CONFIG_HOME, DOCKER_CONFIG, HOME } = env;
  const configHome = XDG_CONFIG_HOME ?? (HOME === undefined ? undefined : join(HOME, ".config"));
  const dockerHome = DOCKER_CONFIG ?? (HOME === undefined ? undefined : join(HOME, ".docker"));
  return [
    REGISTRY_AUTH_FILE,
    XDG_RUNTIME_DIR === undefined ? undefined : join(XDG_RUNTIME_DIR, "containers", "auth.json"),
    configHome === undefined ? undefined : join(configHome, "containers", "auth.json"),
    dockerHome === undefined ? undefined : join(dockerHome, "config.json"),
  ].filter((path): path is string => path !== undefined && path !== "");
}

/**
 * Credentials for `host/repository` by the options. Anonymous where nothing matches.
 *
 * @throws DvcrError E_USAGE, here for a malformed `user:password`, from the source for an unreadable file.
 */
export function credentialSource(host: string, repository: string, options: CredentialOptions): CredentialSource {
  if (options.userPassword !== undefined) {
    const given = splitUserPassword(options.userPassword);
    if (given === undefined) throw new DvcrError("E_USAGE", `the credentials for ${host} are not of the form USER:PASSWORD`);
    return () => Promise.resolve(given);
  }
  const { authFile, authConfig, defaultAuthFiles: defaults = [] } = options;
  return async () => {
    if (authFile === undefined && authConfig !== undefined) return lookUp(parseAuths(authConfig, "the docker config"), host, repository);
    if (authFile !== undefined) return lookUp(await readAuthFile(authFile, true), host, repository);
    for (const path of defaults) {
      const found = lookUp(await readAuthFile(path, false), host, repository);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

async function readAuthFile(path: string, required: boolean): Promise<Map<string, AuthEntry>> {
  const text = await readFirst([path, join(path, ".dockerconfigjson"), join(path, "config.json")], required);
  return text === undefined ? new Map() : parseAuths(text, `the credentials file ${path}`);
}

function parseAuths(text: string, name: string): Map<string, AuthEntry> {
  try {
    const { auths } = JSON.parse(text) as { auths?: Record<string, AuthEntry> };
    return new Map(Object.entries(auths ?? {}));
  } catch {
    // The parser's own message would quote the file, which holds secrets.
    throw new DvcrError("E_USAGE", `${name} is not valid JSON`);
  }
}

async function readFirst(paths: readonly string[], required: boolean): Promise<string | undefined> {
  let reason = "";
  for (const path of paths) {
    try {
      return await readFile(path, "utf8");
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      reason ||= code === "EISDIR" ? "" : code;
    }
  }
  if (required) throw new DvcrError("E_USAGE", `the credentials file ${paths[0] ?? ""} cannot be read (${reason})`);
  return undefined;
}

/** `host/repo/sub`, `host/repo`, `host` as they stand, then keys that carry a scheme or a path; never a substring. */
function lookUp(entries: ReadonlyMap<string, AuthEntry>, host: string, repository: string): Credentials | undefined {
  const parts = repository.split("/");
  const scoped = parts.map((_, index) => `${host}/${parts.slice(0, parts.length - index).join("/")}`);
  for (const key of [...scoped, host, ...(host === dockerHub ? hubKeys : [])]) {
    const entry = entries.get(key);
    const found = entry === undefined ? undefined : toCredentials(entry);
    if (found !== undefined) return found;
  }
  for (const [key, entry] of entries) {
    const found = normalisedKey(key) === host ? toCredentials(entry) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Only keys with a scheme lose their path: `host/path` without one means that path alone. */
function normalisedKey(key: string): string {
  const match = /^https?:\/\/([^/]+)/.exec(key);
  if (match?.[1] !== undefined) return match[1] === "index.docker.io" ? dockerHub : match[1];
  return key.replace(/\/v[12]\/?$/, "").replace(/\/$/, "");
}

function toCredentials(entry: AuthEntry): Credentials | undefined {
  const { auth, username, password, identitytoken, registrytoken } = entry;
  if (isFilled(registrytoken)) return { registryToken: registrytoken };
  const pair = isFilled(auth) ? splitUserPassword(Buffer.from(auth, "base64").toString("utf8").replaceAll("\0", "")) : undefined;
  if (isFilled(identitytoken)) return { ...pair, identityToken: identitytoken };
  if (pair !== undefined) return pair;
  return isFilled(username) && typeof password === "string" ? { username, password } : undefined;
}

function isFilled(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function splitUserPassword(text: string): Credentials | undefined {
  const colon = text.indexOf(":");
  return colon <= 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
