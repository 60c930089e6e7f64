/** The Kubernetes-style API as a plugin: paths, authorization, the form of answers and errors. */
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from "fastify";

import { answerText } from "../../uploader/answer.ts";
import { localAdmin, type Access } from "../security/authorize.ts";
import { adminPaths } from "./meta-routes.ts";
import { applyPatch } from "./apply.ts";
import { BodyBudget } from "./body-budget.ts";
import { bodyOf, mediaType } from "./decode/body.ts";
import { visibleTo, asObject, type ApiAnswer, type ApiDeps, type ApiRequest } from "./context.ts";
import { remove, removeCollection } from "./delete.ts";
import { encodeYaml } from "./decode/yaml.ts";
import { bodyLimit } from "./decode/limits.ts";
import { toStatus } from "./errors.ts";
import { NamespaceLifecycle } from "./namespaces.ts";
import { negotiate } from "./negotiate.ts";
import { get, list } from "./read.ts";
import { readOptions, type Query } from "./request-options.ts";
import { pathOf, resourceTypes, type ResourceType } from "./resource-types.ts";
import { selectedName } from "./selectors.ts";
import { forbidden, methodNotAllowed, noSuchPath, unauthorized, type StatusError } from "./status.ts";
import { shaped } from "./table/table.ts";
import { longAnswer } from "./long-list.ts";
import { LoopShares } from "./loop-shares.ts";
import { Watches } from "./watches.ts";
import { create, patch, patchTypes, update } from "./write.ts";

export type { ApiDeps } from "./context.ts";

type Handler = (request: ApiRequest) => Promise<ApiAnswer>;
interface Method {
  readonly verb: string;
  readonly handle: Handler;
}

const methods = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const;

/** Serves /version, /api, /apis and /openapi. */
export function apiRoutes(deps: ApiDeps): FastifyPluginAsync {
  return async (app: FastifyInstance) => {
    const watches = new Watches(deps.isCurrent, deps.watchLimits);
    const lifecycle = new NamespaceLifecycle(deps.store, deps.log);
    await lifecycle.start();
    app.addHook("preClose", () => {
      watches.close();
      shares.close();
    });
    app.addHook("onClose", () => lifecycle.stop());
    const shares = deps.shares ?? new LoopShares();
    shareOut(app, shares, new BodyBudget());
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("*", { parseAs: "buffer", bodyLimit }, (_request, body, done) => {
      done(null, body);
    });
    app.setErrorHandler((error, request, reply) => sendError(deps, error, request, reply));
    adminPaths(app, { ...deps, shares });
    for (const type of resourceTypes) resourcePaths(app, { ...deps, shares }, watches, type);
    for (const prefix of ["/api", "/apis", "/openapi"]) {
      app.all(`${prefix}/*`, () => {
        throw noSuchPath();
      });
    }
  };
}

/** Before a body is read, there is room for it; before it is looked at, it is its user's turn. */
function shareOut(app: FastifyInstance, shares: LoopShares, bodies: BodyBudget): void {
  app.addHook("preParsing", (request, reply, payload, done) => {
    const { "content-length": length, "transfer-encoding": coding } = request.headers;
    const giveBack = bodies.take(request.user?.name ?? "", length, coding !== undefined);
    reply.raw.once("close", giveBack);
    done(null, payload);
  });
  app.addHook("preHandler", async ({ user }) => {
    // Without authentication there is one user, who may do everything.
    if (user !== undefined && user !== localAdmin) await shares.turn(user.name);
  });
}

function sendError({ log }: ApiDeps, error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const status = toStatus(error);
  if (status.status >= 500 && status.reason === "InternalError")
    log.error({ err: error, reqId: request.id }, "request failed");
  const retry = status.details?.retryAfterSeconds;
  if (retry !== undefined) void reply.header("retry-after", String(retry));
  if (status.status === 401) void reply.header("www-authenticate", 'Bearer realm="dvcr"');
  return answerText(request, reply.code(status.status), "application/json", `${JSON.stringify(status.body())}\n`);
}

function resourcePaths(
  app: FastifyInstance,
  deps: ApiDeps & { readonly shares: LoopShares },
  watches: Watches,
  type: ResourceType,
): void {
  const base = pathOf(type);
  const collection = type.namespaced ? `${base}/namespaces/:namespace/${type.resource}` : `${base}/${type.resource}`;
  const onCollection = {
    GET: { verb: "list", handle: listOf },
    POST: { verb: "create", handle: create },
    DELETE: { verb: "deletecollection", handle: removeCollection },
  };
  const onObject = {
    GET: { verb: "get", handle: get },
    PUT: { verb: "update", handle: update },
    PATCH: { verb: "patch", handle: patched },
    DELETE: { verb: "delete", handle: remove },
  };
  const add = (
    url: string,
    handlers: Readonly<Partial<Record<string, Method>>>,
    subresource: ApiRequest["subresource"] = "",
  ) => {
    for (const method of methods) {
      const known = handlers[method];
      const allowed = known !== undefined && (type.verbs as readonly string[]).includes(known.verb) ? known : undefined;
      const handler = (request: FastifyRequest, reply: FastifyReply) =>
        respond(apiRequest(deps, request, type, subresource), allowed, watches, reply);
      for (const path of [url, `${url}/`]) app.route({ method, url: path, handler });
    }
  };
  add(collection, onCollection);
  if (type.namespaced) add(`${base}/${type.resource}`, { GET: onCollection.GET });
  add(`${collection}/:name`, onObject);
  if (type.hasStatus)
    add(`${collection}/:name/status`, { GET: onObject.GET, PUT: onObject.PUT, PATCH: onObject.PATCH }, "status");
}

const listOf: Handler = (request) => list(request, readOptions(request.query));
const patched: Handler = (request) =>
  mediaType(request.contentType) === patchTypes.apply ? applyPatch(request) : patch(request);

function apiRequest(
  deps: ApiDeps & { readonly shares: LoopShares },
  request: FastifyRequest,
  type: ResourceType,
  subresource: ApiRequest["subresource"],
): ApiRequest {
  const { user } = request;
  if (user === undefined) throw unauthorized();
  const { namespace = "", name = "" } = request.params as { namespace?: string; name?: string };
  return {
    deps,
    place: { type, namespace, name },
    subresource,
    query: request.query as Query,
    user,
    measured: (work) => deps.shares.measured(user.name, work),
    userAgent: request.headers["user-agent"],
    body: bodyOf(request),
    contentType: request.headers["content-type"],
    wanted: negotiate(request.headers.accept),
    warnings: [],
  };
}

async function respond(
  request: ApiRequest,
  method: Method | undefined,
  watches: Watches,
  reply: FastifyReply,
): Promise<FastifyReply> {
  if (method === undefined) throw methodNotAllowed();
  const isWatch = method.verb === "list" && readOptions(request.query).watch;
  const access = accessOf(request, isWatch ? "watch" : method.verb);
  // For the audit log, also of what is refused.
  reply.request.access = access;
  authorizeRequest(request, access);
  void reply.header("cache-control", "no-cache, private");
  if (isWatch) {
    const body = watches.open(request, readOptions(request.query));
    // Clients wait for the head, which would otherwise go with the first change.
    reply.raw.once("pipe", () => {
      reply.raw.flushHeaders();
    });
    return reply.type("application/json").send(body);
  }
  const { status, object, more } = await request.measured(() => method.handle(request));
  if (access.verb === "create") reply.request.access = { ...access, name: asObject(object).metadata.name };
  if (request.warnings.length > 0) void reply.header("warning", warningHeaders(request.warnings));
  return request.measured(() =>
    sendAnswer(request, { status, object, ...(more === undefined ? {} : { more }) }, reply),
  );
}

function sendAnswer(request: ApiRequest, { status, object, more }: ApiAnswer, reply: FastifyReply): FastifyReply {
  const answer = shaped(
    request,
    Array.isArray(object["items"]) || object["kind"] === "Status" ? object : visibleTo(request, asObject(object)),
  );
  if (more !== undefined)
    return reply
      .code(status)
      .type(request.wanted.yaml ? "application/yaml" : "application/json")
      .send(longAnswer(request, answer, object, more));
  if (request.wanted.yaml) return reply.code(status).type("application/yaml").send(encodeYaml(answer));
  return reply
    .code(status)
    .type("application/json")
    .send(`${JSON.stringify(answer)}\n`);
}

/** Characters of one warning, and of all, as the API server cuts them. */
const warningLength = 256;
const warningsLength = 4096;

function warningHeaders(warnings: readonly string[]): string[] {
  const headers: string[] = [];
  let length = 0;
  for (const warning of warnings) {
    const text = warning.slice(0, warningLength);
    if ((length += text.length) > warningsLength) break;
    headers.push(`299 - "${text.replace(/[\\"]/g, "\\$&").replace(/[^\x20-\x7e]/g, "?")}"`);
  }
  return headers;
}

function accessOf({ place: { type, namespace, name }, subresource, query }: ApiRequest, verb: string): Access {
  const named = name === "" && typeof query["fieldSelector"] === "string" ? selectedName(query["fieldSelector"]) : name;
  // As the API server has it, a namespace is in itself.
  const space = type.kind === "Namespace" ? named : namespace;
  const isTrial = query["dryRun"] !== undefined;
  return {
    verb,
    resource: type.resource,
    group: type.group,
    namespace: space,
    ...(named === "" ? {} : { name: named }),
    ...(subresource === "" ? {} : { subresource }),
    ...(isTrial ? { dryRun: true } : {}),
  };
}

/** Throws 403. */
function authorizeRequest({ deps, user, place: { type, name }, subresource }: ApiRequest, access: Access): void {
  if (!deps.authorize(user, access))
    throw refusal(user.name, type, access.verb, { namespace: access.namespace ?? "", name, subresource });
}

function refusal(
  user: string,
  type: ResourceType,
  verb: string,
  { namespace, name, subresource }: { namespace: string; name: string; subresource: string },
): StatusError {
  const resource = `${type.resource}${subresource === "" ? "" : `/${subresource}`}`;
  const where = namespace === "" ? "at the cluster scope" : `in the namespace ${JSON.stringify(namespace)}`;
  return forbidden(
    type,
    name,
    `User ${JSON.stringify(user)} cannot ${verb} resource ${JSON.stringify(resource)} in API ` +
      `group ${JSON.stringify(type.group)} ${where}`,
  );
}
