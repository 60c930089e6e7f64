import multipart from "@fastify/multipart";
import fastify, { LogController, type FastifyInstance, type FastifyServerOptions } from "fastify";
import type { UploaderConfig } from "../config/uploader-config.ts";
import { DvcrError } from "../errors/dvcr-error.ts";
import type { Logger } from "../log/logger.ts";
import type { TrackedImport } from "../metrics/tracked-import.ts";
import type { Outcome } from "../process/outcome.ts";
import { answerError } from "./answer.ts";
import { holdBodiesBack } from "./continue.ts";
import { UploadGate } from "./gate.ts";
import { checkClientName, tlsOptions } from "./tls.ts";
import { uploadHandler } from "./upload-route.ts";

export interface UploadAppDeps {
  readonly runImport: TrackedImport;
  /** Called once, before the client is answered. */
  readonly onVerdict: (verdict: Outcome) => void;
  /** Aborted when the process is told to stop. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Removed from every answer. */
  readonly secrets?: readonly string[];
}

const uploadPath = "/upload";

/** The upload server, not listening yet. Throws E_CONFIG for TLS files that cannot be read. */
export async function buildApp(config: UploaderConfig, deps: UploadAppDeps): Promise<FastifyInstance> {
  const tls = tlsOptions(config);
  const options: FastifyServerOptions = {
    loggerInstance: deps.log,
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: "idle",
    // An upload takes as long as it takes; a client that stops sending is found by the body's own clock.
    requestTimeout: 0,
  };
  const app = tls === undefined ? fastify(options) : fastify({ ...options, https: tls } as FastifyServerOptions);

  holdBodiesBack(app);
  // Any type, and none as with curl -T, is the raw body: what it is shows in its bytes.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
  await app.register(multipart, { limits: { fileSize: Infinity, files: 1, fields: 32, fieldSize: 4096 }, throwFileSizeLimit: false });

  const secrets = deps.secrets ?? [];
  app.setErrorHandler((error, request, reply) => {
    request.log.warn({ err: error, method: request.method, path: request.url.split("?")[0] }, "request failed");
    return answerError(request, reply, error, secrets);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?")[0] ?? "";
    if (path !== uploadPath) return answerError(request, reply, new DvcrError("E_NOT_FOUND", `there is nothing at ${JSON.stringify(path.slice(0, 200))}`), secrets);
    void reply.header("allow", "GET, HEAD, PUT, POST");
    return answerError(request, reply, new DvcrError("E_METHOD", `${request.method} is not allowed at ${uploadPath}`), secrets);
  });
  const { clientName } = config;
  if (clientName !== undefined) {
    app.addHook("onRequest", (request, _reply, done) => {
      checkClientName(request.raw.socket, clientName);
      done();
    });
  }

  const gate = new UploadGate(deps.onVerdict);
  // Asked for every second, also during an upload: "ready" is all that it says.
  app.get(uploadPath, (_request, reply) => reply.header("cache-control", "no-store").send(""));
  app.route({ method: ["PUT", "POST"], url: uploadPath, handler: uploadHandler(config, { gate, runImport: deps.runImport, signal: deps.signal }) });
  return app;
}
