import fastify, { LogController, type FastifyInstance, type FastifyServerOptions } from "fastify";
import type { UploaderConfig } from "../config/uploader-config.ts";
import { importOptions } from "../config/import-options.ts";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import type { Logger } from "../log/logger.ts";
import type { TrackedImport } from "../metrics/tracked-import.ts";
import type { Outcome } from "../process/outcome.ts";
import { answerError } from "./answer.ts";
import { limitConnections } from "./connections.ts";
import { holdBodiesBack } from "./continue.ts";
import { refuseMethod, takeRawBodies, uploadHandlers, uploadMethods } from "./handlers.ts";
import { checkClientName, tlsOptions } from "./tls.ts";
import { withVhdFix } from "./source-format.ts";
import { UploadSession } from "./upload-session.ts";

export interface UploadAppDeps {
  readonly runImport: TrackedImport;
  /** Called once, before the client is answered. */
  readonly onVerdict: (verdict: Outcome) => void;
  /** Called once the verdict was told to a client, or none came for it. */
  readonly onDone: () => void;
  /** Aborted when the process is told to stop. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Removed from every answer. */
  readonly secrets?: readonly string[];
}

const uploadPath = "/upload";
/** How often heads that are late are looked for, at most. */
const checkMilliseconds = 5000;
/** In a cluster many clients come from one address, that of a node: half of the places. */
const connections = { all: 512, perAddress: 256, silence: 5000 };
/** For a client's part of TLS. */
const handshakeTimeout = 10_000;

/** The upload of this process, with imports as configured. */
function openSession(config: UploaderConfig, { runImport, signal, onVerdict, onDone }: UploadAppDeps): UploadSession {
  return new UploadSession({
    startImport: (source, { checksums, sourceFormat }, ended) =>
      withVhdFix(
        runImport(source, importOptions(config, checksums, sourceFormat), AbortSignal.any([signal, ended])),
        "Send it to a new uploader with the header DVCR-Source-Format: vpc, or set DVCR_SOURCE_FORMAT=vpc there.",
      ),
    onVerdict,
    onDone,
    resumeTimeout: config.uploadResumeTimeout * 1000,
    silence: config.uploadSilence * 1000,
    resultTime: config.uploadResultTime * 1000,
    sipInterval: config.uploadSipInterval * 1000,
  });
}

/** The upload server, not listening yet. Throws E_CONFIG for TLS files that cannot be read. */
export async function buildApp(config: UploaderConfig, deps: UploadAppDeps): Promise<FastifyInstance> {
  const tls = tlsOptions(config);
  // A client that has not sent its request's head by then is cut off: it holds nothing but a connection.
  const headersTimeout = config.uploadHeadTimeout * 1000;
  const timeouts = { headersTimeout, connectionsCheckingInterval: Math.min(checkMilliseconds, headersTimeout / 4) };
  const options: FastifyServerOptions = {
    loggerInstance: deps.log,
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: "idle",
    // An upload takes as long as it takes; a client that stops sending is found by the body's own clock.
    requestTimeout: 0,
  };
  const app =
    tls === undefined
      ? fastify({ ...options, http: timeouts })
      : fastify({ ...options, https: { ...tls, ...timeouts, handshakeTimeout } } as FastifyServerOptions);
  limitConnections(app.server, connections);

  holdBodiesBack(app);
  await takeRawBodies(app);

  const secrets = deps.secrets ?? [];
  app.addHook("onSend", (_request, reply, payload, done) => {
    // The process ends after the verdict was told: no connection must keep it.
    if (session.status().verdict !== undefined) void reply.header("connection", "close");
    done(null, payload);
  });
  const session = openSession(config, deps);
  app.addHook("onClose", () =>
    session.close(
      deps.signal.aborted ? toDvcrError(deps.signal.reason) : new DvcrError("E_CANCELLED", "the process ends"),
    ),
  );
  app.setErrorHandler((error, request, reply) => {
    request.log.warn({ err: error, method: request.method, path: request.url.split("?")[0] }, "request failed");
    // Where to go on, for whoever was cut off or stands elsewhere.
    if (!reply.hasHeader("upload-offset")) void reply.header("upload-offset", session.status().offset);
    return answerError(request, reply, error, secrets);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?")[0] ?? "";
    if (path === uploadPath) return refuseMethod(request, reply, secrets);
    return answerError(
      request,
      reply,
      new DvcrError("E_NOT_FOUND", `there is nothing at ${JSON.stringify(path.slice(0, 200))}`),
      secrets,
    );
  });
  const { clientName } = config;
  if (clientName !== undefined) {
    app.addHook("onRequest", (request, _reply, done) => {
      checkClientName(request.raw.socket, clientName);
      done();
    });
  }

  const handlers = uploadHandlers({ config, session, signal: deps.signal, secrets });
  // curl -T FILE URL/ appends the file's name.
  for (const method of uploadMethods)
    for (const url of [uploadPath, `${uploadPath}/`, `${uploadPath}/:file`])
      app.route({ method, url, exposeHeadRoute: false, handler: handlers[method] });
  return app;
}
