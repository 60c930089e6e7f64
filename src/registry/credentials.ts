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
  /** Runs what a file names under `credHelpers` and `credsStore`. Missing: both are passed over. */
  readonly helper?: CredentialHelper;
}

/** What `docker-credential-NAME get` knows of a server; nothing where it knows none. */
export type CredentialHelper = (name: string, server: string) => Promise<Credentials | undefined>;

interface AuthEntry {
  readonly auth?: unknown;
  readonly username?: unknown;
  readonly password?: unknown;
  readonly identitytoken?: unknown;
  readonly registrytoken?: unknown;
}

interface AuthFile {
  readonly auths: ReadonlyMap<string, AuthEntry>;
  readonly credHelpers: ReadonlyMap<string, unknown>;
  readonly credsStore: string | undefined;
}

const noAuths: AuthFile = { auths: new Map(), credHelpers: new Map(), credsStore: undefined };
const hubServer = "https://index.docker.io/v1/";
const hubKeys = [hubServer, "index.docker.io", "docker.io", "registry-1.docker.io"];

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
    if (given === undefined)
      throw new DvcrError("E_USAGE", `the credentials for ${host} are not of the form USER:PASSWORD`);
    return () => Promise.resolve(given);
  }
  const { authFile, authConfig, defaultAuthFiles: defaults = [] } = options;
  return async () => {
    const find = (file: AuthFile): Promise<Credentials | undefined> => findIn(file, host, repository, options.helper);
    if (authFile === undefined && authConfig !== undefined)
      return await find(parseAuths(authConfig, "the docker config"));
    if (authFile !== undefined) return await find(await readAuthFile(authFile, true));
    for (const path of defaults) {
      const found = await find(await readAuthFile(path, false));
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

/** A helper of the host's own, then what the file itself holds, then the helper for all hosts. */
async function findIn(
  file: AuthFile,
  host: string,
  repository: string,
  helper: CredentialHelper | undefined,
): Promise<Credentials | undefined> {
  // The helpers know Docker Hub by the name that `docker login` gives it.
  const server = host === dockerHub ? hubServer : host;
  const own = [host, server].map((key) => file.credHelpers.get(key)).find(isFilled);
  if (own !== undefined && helper !== undefined) return await helper(own, server);
  return (
    lookUp(file.auths, host, repository) ??
    (file.credsStore === undefined ? undefined : await helper?.(file.credsStore, server))
  );
}

async function readAuthFile(path: string, required: boolean): Promise<AuthFile> {
  const text = await readFirst([path, join(path, ".dockerconfigjson"), join(path, "config.json")], required);
  return text === undefined ? noAuths : parseAuths(text, `the credentials file ${path}`);
}

function parseAuths(text: string, name: string): AuthFile {
  try {
    const { auths, credHelpers, credsStore } = JSON.parse(text) as {
      auths?: Record<string, AuthEntry>;
      credHelpers?: Record<string, unknown>;
      credsStore?: unknown;
    };
    return {
      auths: new Map(Object.entries(auths ?? {})),
      credHelpers: new Map(Object.entries(credHelpers ?? {})),
      credsStore: isFilled(credsStore) ? credsStore : undefined,
    };
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
  const pair = isFilled(auth)
    ? splitUserPassword(Buffer.from(auth, "base64").toString("utf8").replaceAll("\0", ""))
    : undefined;
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
