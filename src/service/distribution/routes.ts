/**
 * `/v2/`: the embedded store for `skopeo`, `buildah` and container runtimes, to be read only (OCI distribution-spec
 * 1.1, "Pull").
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { send } from "@fastify/send";
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from "fastify";
import { blobPath } from "../../destination/oci-layer.ts";
import type { IndexEntry } from "../../destination/oci-index.ts";
import type { BlobStore } from "../images/blob-store.ts";
import { requireUser, userOf, type Authenticator } from "../security/authenticate.ts";
import type { Access, Authorize, User } from "../security/authorize.ts";
import { answerDistributionError, DistributionError, unknownBlob, unknownManifest, unknownName } from "./answers.ts";
import { pageOf } from "./pages.ts";
import { parsePath, type DistributionPath } from "./request-path.ts";
import { StoredImages } from "./stored-images.ts";

export interface DistributionDeps {
  readonly blobs: BlobStore;
  /** Tokens come as the password of Basic credentials, which is what such clients send. */
  readonly authenticator: Authenticator;
  readonly authorize: Authorize;
}

type ManifestPath = Extract<DistributionPath, { kind: "manifest" }>;
type BlobPath = Extract<DistributionPath, { kind: "blob" }>;

/** One read from the disk, and what a slow client holds in memory. */
const chunkBytes = 256 * 1024;
const writing = ["POST", "PUT", "PATCH", "DELETE"];

/** The routes `/v2/` and below. */
export function distributionRoutes(deps: DistributionDeps): FastifyPluginAsync {
  const registry = new ReadOnlyRegistry(deps);
  // eslint-disable-next-line @typescript-eslint/require-await -- what fastify asks of a plugin
  return async (app) => {
    app.addHook("onRequest", requireUser(deps.authenticator, "Basic"));
    app.addHook("onRequest", (_request, reply, done) => {
      void reply.header("docker-distribution-api-version", "registry/2.0");
      done();
    });
    app.setErrorHandler((error, request, reply) => {
      if (!(error instanceof DistributionError)) request.log.warn({ err: error }, "request of an image failed");
      return answerDistributionError(reply, error);
    });
    const options = { exposeHeadRoutes: false } as const;
    for (const url of ["/v2", "/v2/", "/v2/*"]) {
      app.route({
        ...options,
        method: ["GET", "HEAD"],
        url,
        handler: (request, reply) => registry.answer(request, reply),
      });
      app.route({
        method: writing,
        url,
        handler: () => {
          throw new DistributionError(
            405,
            "UNSUPPORTED",
            "this registry is read-only: images are made by creating resources",
          );
        },
      });
    }
  };
}

class ReadOnlyRegistry {
  readonly #blobs: BlobStore;
  readonly #images: StoredImages;
  readonly #authorize: Authorize;

  constructor({ blobs, authorize }: DistributionDeps) {
    this.#blobs = blobs;
    this.#images = new StoredImages(blobs);
    this.#authorize = authorize;
  }

  answer(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> | FastifyReply {
    const path = parsePath((request.params as { "*"?: string })["*"] ?? "");
    switch (path.kind) {
      case "base":
        return reply.send({});
      case "catalog":
        return this.#catalog(request, reply);
      case "tags":
        return this.#tags(path.repository, request, reply);
      case "manifest":
        return this.#manifest(path, request, reply);
      case "blob":
        return this.#blob(path, request, reply);
    }
  }

  async #catalog(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const all = [...(await this.#images.repositories()).keys()];
    const seen = all.filter((repository) => this.#mayRead(userOf(request), repository));
    return reply.send({ repositories: pageOf(seen, request, reply) });
  }

  async #tags(repository: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const tags = await this.#repository(repository, request);
    return reply.send({ name: repository, tags: pageOf([...tags.keys()], request, reply) });
  }

  async #manifest(
    { repository, tag, digest }: ManifestPath,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    const tags = await this.#repository(repository, request);
    const entry = tag === undefined ? [...tags.values()].find((one) => one.digest === digest) : tags.get(tag);
    const reference = tag ?? digest ?? "";
    if (entry === undefined) throw unknownManifest(reference);
    const bytes = await readFile(blobPath(this.#blobs.directory, entry.digest)).catch((error: unknown) => {
      throw (error as NodeJS.ErrnoException).code === "ENOENT" ? unknownManifest(reference) : error;
    });
    if (isKnown(request, reply, entry.digest)) return reply.code(304).send();
    void reply.type(entry.mediaType).header("content-length", bytes.length);
    return reply.send(request.method === "HEAD" ? null : bytes);
  }

  async #blob({ repository, digest }: BlobPath, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    await this.#repository(repository, request);
    if (!(await this.#images.holds(repository, digest))) throw unknownBlob(digest);
    if (isKnown(request, reply, digest)) return reply.code(304).send();
    // A blob never changes: a range of it is always of the one that was asked for, and of no other.
    const { headers } = request.raw;
    if (headers["if-range"] === etagOf(digest)) delete headers["if-range"];
    const found = await send(request.raw, digest.slice("sha256:".length), {
      root: join(this.#blobs.directory, "blobs/sha256"),
      etag: false,
      lastModified: false,
      cacheControl: false,
      contentType: false,
      index: false,
      highWaterMark: chunkBytes,
    });
    if (found.type !== "file") {
      found.stream.destroy();
      if (found.statusCode === 416) {
        void reply.header("content-range", found.headers["Content-Range"] ?? "");
        throw new DistributionError(416, "RANGE_INVALID", "invalid content range");
      }
      throw unknownBlob(digest);
    }
    return reply.code(found.statusCode).headers(found.headers).type("application/octet-stream").send(found.stream);
  }

  /** Tags of a repository that is there and that the user may read; others are told nothing of it. */
  async #repository(repository: string, request: FastifyRequest): Promise<ReadonlyMap<string, IndexEntry>> {
    if (!this.#mayRead(userOf(request), repository))
      throw new DistributionError(403, "DENIED", "requested access to the resource is denied");
    const tags = (await this.#images.repositories()).get(repository);
    if (tags === undefined) throw unknownName(repository);
    return tags;
  }

  #mayRead(user: User, repository: string): boolean {
    return this.#authorize(user, accessTo(repository));
  }
}

/** Who may get the resource may pull its image (contract, section 6.1). */
function accessTo(repository: string): Access {
  const group = "virtualization.deckhouse.io";
  const [kind, first = "", second] = repository.split("/");
  if (kind === "vi" && second !== undefined)
    return { verb: "get", group, resource: "virtualimages", namespace: first, name: second };
  if (kind === "cvi") return { verb: "get", group, resource: "clustervirtualimages", name: first };
  // Nothing that a resource stands for: for those who clean up.
  return { verb: "get", resource: "gc" };
}

function etagOf(digest: string): string {
  return `"${digest}"`;
}

/** Sets what names the content; true where the client has it already. */
function isKnown(request: FastifyRequest, reply: FastifyReply, digest: string): boolean {
  void reply.headers({ "docker-content-digest": digest, etag: etagOf(digest), "cache-control": "private, no-cache" });
  return (request.headers["if-none-match"] ?? "")
    .split(/, */)
    .some((tag) => tag === etagOf(digest) || tag === `W/${etagOf(digest)}`);
}
