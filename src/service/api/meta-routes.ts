/** Paths about the API itself: version, discovery, OpenAPI, and the reviews of one's own rights. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import { bodyOf, decodeObject } from "./decode/body.ts";
import type { ApiDeps } from "./context.ts";
import { aggregatedDiscovery, coreVersions, groupList, groupOf, resourceList, versionInfo } from "./discovery.ts";
import type { LoopShares } from "./loop-shares.ts";
import { discoveryVersion } from "./negotiate.ts";
import { openApiIndex, openApiV2, openApiV2Protobuf, openApiV3 } from "./openapi/documents.ts";
import { askedProtobufType, openApiProtobufType } from "./openapi/v2-protobuf.ts";
import { groupVersions, pathOf, reviewTypes } from "./resource-types.ts";
import { reviewed } from "./reviews.ts";
import { noSuchPath, notAcceptable, unauthorized } from "./status.ts";

const json = (reply: FastifyReply, content: unknown, status = 200): FastifyReply =>
  reply
    .code(status)
    .type("application/json")
    .send(`${JSON.stringify(content)}\n`);

const noDefinitions = {
  kind: "CustomResourceDefinitionList",
  apiVersion: "apiextensions.k8s.io/v1",
  metadata: { resourceVersion: "1" },
  items: [],
};

/** Adds them to `app`. Everybody who is known may read them. */
export function adminPaths(
  app: FastifyInstance,
  { authorize, shares }: ApiDeps & { readonly shares: LoopShares },
): void {
  // Clients made from OpenAPI documents ask with a slash at the end.
  for (const slash of ["", "/"]) {
    app.get(`/version${slash}`, (_request, reply) => json(reply, versionInfo));
    for (const path of ["/api", "/apis"] as const) {
      app.get(`${path}${slash}`, (request, reply) => {
        throwIfUnknown(request);
        return discovery(path, request, reply);
      });
    }
  }
  for (const group of new Set(groupVersions.map((one) => one.group).filter((one) => one !== ""))) {
    known(app, `/apis/${group}`, () => groupOf(group));
  }
  for (const groupVersion of groupVersions) known(app, pathOf(groupVersion), () => resourceList(groupVersion));
  // kubectl looks here before it says that it does not know a kind, VirtualDisk for one.
  known(app, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", () => noDefinitions);
  for (const type of reviewTypes) {
    app.post(`${pathOf(type)}/${type.resource}`, (request, reply) => {
      const { user } = request;
      if (user === undefined) throw unauthorized();
      const answer = shares.measured(user.name, () => {
        const { value: sent } = decodeObject(bodyOf(request, "{}"), request.headers["content-type"]);
        return reviewed(type, sent, user, authorize);
      });
      return json(reply, answer, 201);
    });
  }
  openApiPaths(app);
}

function known(app: FastifyInstance, path: string, content: () => unknown): void {
  for (const url of [path, `${path}/`]) {
    app.get(url, (request, reply) => {
      throwIfUnknown(request);
      return json(reply, content());
    });
  }
}

function throwIfUnknown({ user }: FastifyRequest): void {
  if (user === undefined) throw unauthorized();
}

function discovery(path: "/api" | "/apis", request: FastifyRequest, reply: FastifyReply): FastifyReply {
  void reply.header("vary", "Accept");
  const version = discoveryVersion(request.headers.accept);
  if (version === undefined) return json(reply, path === "/api" ? coreVersions : groupList());
  const type = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
  return reply.header("content-type", type).send(Buffer.from(JSON.stringify(aggregatedDiscovery(path, version))));
}

function openApiPaths(app: FastifyInstance): void {
  app.get("/openapi/v3", (request, reply) => {
    throwIfUnknown(request);
    return json(reply, openApiIndex());
  });
  app.get("/openapi/v3/*", (request, reply) => {
    throwIfUnknown(request);
    const document = openApiV3((request.params as { "*": string })["*"]);
    if (document === undefined) throw noSuchPath();
    const isPinned = (request.query as { hash?: string }).hash === document.hash;
    return reply
      .header("etag", `"${document.hash}"`)
      .header("cache-control", isPinned ? "public, immutable, max-age=31536000" : "no-cache, private")
      .type("application/json")
      .send(document.text);
  });
  app.get("/openapi/v2", (request, reply) => {
    throwIfUnknown(request);
    const accept = request.headers.accept ?? "";
    if ([openApiProtobufType, askedProtobufType].some((type) => accept.includes(type)))
      return reply.type(openApiProtobufType).send(openApiV2Protobuf());
    if (accept !== "" && !/application\/json|\*\/\*/.test(accept))
      throw notAcceptable(["application/json", openApiProtobufType]);
    return reply.type("application/json").send(openApiV2().text);
  });
}
