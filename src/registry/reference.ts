/** Names of images in registries: `host[:port]/repository[:tag][@digest]`. */
import { DvcrError } from "../errors/dvcr-error.ts";

export interface ImageReference {
  /** As it is dialled and as credentials are looked up: `host` or `host:port`. */
  readonly host: string;
  readonly repository: string;
  readonly tag?: string;
  /** "sha256:…". */
  readonly digest?: string;
}

const label = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const hostPattern = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[0-9a-fA-F:]+\\])(?::([0-9]{1,5}))?$`);
const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^[\w][\w.-]{0,127}$/;
/** A digest as we take it: sha256 only. */
export function isDigest(text: string): boolean {
  return digestPattern.test(text);
}

/** True for a repository's name by the distribution grammar. */
export function isRepository(text: string): boolean {
  return text.split("/").every((part) => componentPattern.test(part));
}

/** True for a tag by the distribution grammar. */
export function isTag(text: string): boolean {
  return tagPattern.test(text);
}

const digestPattern = /^sha256:[0-9a-f]{64}$/;
const maxNameLength = 255;

export const dockerHub = "docker.io";

/**
 * Parses a reference by the distribution grammar. A first component without a dot, a colon or the name `localhost`
 * belongs to Docker Hub, whose one-part names live under `library/`.
 *
 * @throws DvcrError E_USAGE, naming the part that is wrong.
 */
export function parseReference(text: string): ImageReference {
  const [name, digest, ...more] = text.split("@");
  if (name === undefined || name === "" || more.length > 0)
    throw malformed(text, "it is not HOST/REPOSITORY[:TAG][@DIGEST]");
  if (digest !== undefined && !digestPattern.test(digest))
    throw malformed(text, "the digest is not sha256: and 64 hex digits");
  const { host, rest } = splitHost(name);
  const colon = rest.indexOf(":");
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  const repository = host === dockerHub && !path.includes("/") ? `library/${path}` : path;
  checkHost(text, host);
  if (!isRepository(repository)) {
    throw malformed(text, `the repository "${path}" must be lower-case names joined by "/"`);
  }
  if (host.length + 1 + repository.length > maxNameLength)
    throw malformed(text, `the name is longer than ${String(maxNameLength)} characters`);
  if (tag !== undefined && !tagPattern.test(tag)) throw malformed(text, `the tag "${tag}" is malformed`);
  return { host, repository, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

const dockerScheme = "docker://";

/** Parses `docker://HOST/REPOSITORY[:TAG][@DIGEST]`; `subject` is for messages. @throws DvcrError E_USAGE. */
export function parseDockerReference(text: string, subject: string): ImageReference {
  if (!text.startsWith(dockerScheme))
    throw new DvcrError("E_USAGE", `${subject} is not of the form docker://HOST/REPO[:TAG|@DIGEST]`);
  return parseReference(text.slice(dockerScheme.length));
}

/** The reference as text, in full. */
export function formatReference(reference: ImageReference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  const digest = reference.digest === undefined ? "" : `@${reference.digest}`;
  return `${reference.host}/${reference.repository}${tag}${digest}`;
}

/** What stands in a request's path after `/manifests/`: the digest where there is one, else the tag, else `latest`. */
export function manifestName(reference: ImageReference): string {
  return reference.digest ?? reference.tag ?? "latest";
}

function splitHost(name: string): { host: string; rest: string } {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  const isHost = /[.:[]/.test(first) || first === "localhost" || first !== first.toLowerCase();
  if (!isHost) return { host: dockerHub, rest: name };
  return { host: first === "index.docker.io" ? dockerHub : first, rest: name.slice(slash + 1) };
}

function checkHost(text: string, host: string): void {
  const match = hostPattern.exec(host);
  if (match === null) throw malformed(text, `the host "${host}" is malformed`);
  if (match[1] !== undefined && (Number(match[1]) < 1 || Number(match[1]) > 65535)) {
    throw malformed(text, `the port ${match[1]} is not between 1 and 65535`);
  }
}

/** `user:password@host/…` is a mistake made easily: the text is shown without what stands before the first "@". */
function malformed(text: string, reason: string): DvcrError {
  const shown = /:[^/@]*@(?!sha)/.test(text) ? "(with credentials in it)" : `"${text}"`;
  return new DvcrError("E_USAGE", `image reference ${shown}: ${reason}`);
}
