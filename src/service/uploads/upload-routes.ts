/** `/upload/TOKEN`: the file of one image, in every form that the uploader of a pod takes. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { DvcrError } from "../../errors/dvcr-error.ts";
import { answerError } from "../../uploader/answer.ts";
import { refuseMethod, takeRawBodies, uploadMethods } from "../../uploader/handlers.ts";
import { imageGroup } from "../model/image.ts";
import type { Access } from "../security/authorize.ts";
import { tokenPattern, type UploadTarget, type UploadTokens } from "./tokens.ts";

const paths = ["/:token", "/:token/", "/:token/:file"] as const;
const readMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** For the audit log; who has the URL needs no user. */
function accessOf({ label }: UploadTarget): Access {
  const [kind, ...names] = label.split("/");
  const name = names.pop() ?? "";
  return {
    verb: "update",
    resource: kind === "vi" ? "virtualimages" : "clustervirtualimages",
    group: imageGroup,
    namespace: names[0] ?? "",
    name,
    subresource: "upload",
  };
}

export interface UploadRoutesDeps {
  readonly tokens: UploadTokens;
}

/** To be registered with the prefix `/upload`: bodies are taken whatever their type and length. */
export async function uploadRoutes(app: FastifyInstance, { tokens }: UploadRoutesDeps): Promise<void> {
  await takeRawBodies(app);
  const targetOf = (request: FastifyRequest): UploadTarget | undefined => {
    const { token } = request.params as { token?: string };
    return token !== undefined && tokenPattern.test(token) ? tokens.find(token) : undefined;
  };
  app.setErrorHandler((error, request, reply) => {
    // Not the path: it holds the token.
    request.log.warn({ err: error, method: request.method }, "upload request failed");
    const target = targetOf(request);
    if (target !== undefined && !reply.hasHeader("upload-offset")) void reply.header("upload-offset", target.offset);
    return answerError(request, reply, error, []);
  });
  // The same for a token that never was, one that has ended and a malformed one.
  const sayNothing = (request: FastifyRequest, reply: FastifyReply): FastifyReply =>
    answerError(request, reply, new DvcrError("E_NOT_FOUND", "nothing is uploaded here, or not any more"), []);
  // curl -T FILE URL/ appends the file's name.
  for (const [method, url] of uploadMethods.flatMap((one) => paths.map((path) => [one, path] as const))) {
    app.route({
      method,
      url,
      exposeHeadRoute: false,
      handler: (request, reply) => {
        const target = targetOf(request);
        if (target === undefined) return sayNothing(request, reply);
        if (!readMethods.has(method)) request.access = accessOf(target);
        return target.handlers[method](request, reply);
      },
    });
  }
  app.setNotFoundHandler((request, reply) =>
    targetOf(request) === undefined ? sayNothing(request, reply) : refuseMethod(request, reply, []),
  );
}
