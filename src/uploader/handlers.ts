import multipart from "@fastify/multipart";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { DvcrError } from "../errors/dvcr-error.ts";
import { answerError } from "./answer.ts";
import type { UploadRoutes } from "./routes.ts";
import { addTusOptions, isTus, tusHandlers } from "./tus-route.ts";
import { statusHandler, uploadHandler } from "./upload-route.ts";

type Handler = (request: FastifyRequest, reply: FastifyReply) => FastifyReply | Promise<FastifyReply>;

/** Methods at the path of an upload. */
export const uploadMethods = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"] as const;

/** What each method does, in every form that an upload may have. */
export type UploadHandlers = Readonly<Record<(typeof uploadMethods)[number], Handler>>;

/** Answers a method that the path does not have. */
export function refuseMethod(
  request: FastifyRequest,
  reply: FastifyReply,
  secrets: readonly string[],
  without = "",
): FastifyReply {
  void reply.header("allow", uploadMethods.join(", "));
  return answerError(
    request,
    reply,
    new DvcrError("E_METHOD", `${request.method} is not allowed for an upload${without}`),
    secrets,
  );
}

/** The handlers of one session, wherever its path is. */
export function uploadHandlers(routes: UploadRoutes): UploadHandlers {
  const { config, secrets } = routes;
  const plain = { upload: uploadHandler(routes), status: statusHandler(routes) };
  const tus = tusHandlers(routes);
  const tusOnly =
    (handler: Handler): Handler =>
    (request, reply) =>
      isTus(request) ? handler(request, reply) : refuseMethod(request, reply, secrets, " without Tus-Resumable");
  return {
    // Asked for every second, also during an upload: "ready" is all that it says.
    GET: (_request, reply) => reply.header("cache-control", "no-store").send(""),
    HEAD: (request, reply) => (isTus(request) ? tus.status(request, reply) : plain.status(request, reply)),
    PUT: plain.upload,
    POST: (request, reply) => (isTus(request) ? tus.create(request, reply) : plain.upload(request, reply)),
    PATCH: tusOnly(tus.append),
    DELETE: tusOnly(tus.terminate),
    OPTIONS: (_request, reply) => {
      addTusOptions(reply, config.maxUploadSize ?? config.maxVirtualSize);
      return reply.code(204).header("allow", uploadMethods.join(", ")).send();
    },
  };
}

/**
 * Lets `app`, or a scope of it, take bodies of any type as they are: what they hold shows in their bytes. Forms are
 * read by whoever asks for their file.
 */
export async function takeRawBodies(app: FastifyInstance): Promise<void> {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
  await app.register(multipart, {
    limits: { fileSize: Infinity, files: 1, fields: 32, fieldSize: 4096 },
    throwFileSizeLimit: false,
  });
}
