/**
 * The one HTTP server of the service: what holds for every request, and the parts below it, each a scope of its own.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import type { ServerOptions } from "node:https";
import fastify, { LogController, type FastifyInstance, type FastifyServerOptions } from "fastify";
import type { ServeConfig } from "../../config/serve-config.ts";
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { Logger } from "../../log/logger.ts";
import { contains, networkList } from "../../outbound/networks.ts";
import { answerError } from "../../uploader/answer.ts";
import { limitConnections } from "../../uploader/connections.ts";
import { holdBodiesBack, letBodyCome } from "../../uploader/continue.ts";
import { addAuditLog } from "../security/audit.ts";
import { addBodyTime } from "../security/body-time.ts";
import { addSecurityHeaders } from "../security/headers.ts";
import { originGuard } from "../security/origin-guard.ts";
import { addRateLimit } from "../security/rate-limit.ts";

/** A client that has not sent its request's head by then is cut off: it holds nothing but a connection. */
const headMilliseconds = 20_000;
const checkMilliseconds = 5000;
/** For the body of an object; uploads have times of their own. */
const bodyMilliseconds = 60_000;
const connections = { all: 4096, perAddress: 1024, silence: 5000 };
/** For a client's part of TLS. */
const handshakeTimeout = 10_000;
/** Of objects; uploads have a limit of their own. */
const bodyLimit = 3 * 2 ** 20;
/** Bytes of a body that are read although they were refused, so that its sender hears why. */
const mostUnread = 2 ** 20;
/** A name in a path may be as long as Kubernetes allows. */
const maxParamLength = 300;
const probes = ["/healthz", "/healthz/", "/livez", "/livez/", "/readyz"];
const uploadPrefix = "/upload/";

export interface AppDeps {
  readonly config: ServeConfig;
  readonly log: Logger;
  /** Whether requests carry tokens; otherwise the origin guard is stricter. */
  readonly isAuthenticated: boolean;
  /** Why the service is not ready, or nothing. */
  readonly notReady: () => string | undefined;
  /** What the body of an object may take to come. Default one minute. */
  readonly bodyMilliseconds?: number;
}

/**
 * The server with its hooks and probes, not listening yet. Throws E_CONFIG for TLS files that cannot be read, and for
 * proxies that are no addresses.
 */
export async function buildServeApp({
  config,
  log,
  isAuthenticated,
  notReady,
  ...times
}: AppDeps): Promise<FastifyInstance> {
  const tls = tlsOptions(config);
  const timeouts = { headersTimeout: headMilliseconds, connectionsCheckingInterval: checkMilliseconds };
  const proxies = networkList(config.trustedProxies);
  const options: FastifyServerOptions = {
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: "idle",
    // Uploads and watches take as long as they take.
    requestTimeout: 0,
    bodyLimit,
    trustProxy: config.trustedProxies.length > 0 && ((address) => contains(proxies, address)),
    routerOptions: { maxParamLength },
    genReqId: ({ headers }) => {
      const given = headers["x-request-id"];
      return typeof given === "string" && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
    },
  };
  const app =
    tls === undefined
      ? fastify({ ...options, http: timeouts })
      : fastify({ ...options, https: { ...tls, ...timeouts, handshakeTimeout } } as FastifyServerOptions);
  limitConnections(app.server, { ...connections, isShared: (address) => contains(proxies, address) });

  holdBodiesBack(app);
  app.addHook("onRequest", (request, reply, done) => {
    // An upload's body is asked for once its head was looked at.
    if (!request.url.startsWith(uploadPrefix)) letBodyCome(request, reply);
    void reply.header("x-request-id", request.id);
    done();
  });
  addBodyTime(app, {
    milliseconds: times.bodyMilliseconds ?? bodyMilliseconds,
    isExempt: ({ url }) => url.startsWith(uploadPrefix),
  });
  await addSecurityHeaders(app, { isTls: tls !== undefined });
  await addRateLimit(app, { perMinute: config.requestsPerMinute, exempt: probes });
  const ownHosts = config.publicUrl === undefined ? [] : [new URL(config.publicUrl).hostname];
  app.addHook("onRequest", originGuard({ isOpen: !isAuthenticated, ownHosts, allowedOrigins: config.allowedOrigins }));
  addAuditLog(app);
  app.addHook("onSend", (request, reply, payload, done) => {
    // Whoever is answered before a long body has come is not listened to any longer: Node would read on to the body's
    // end.
    const { "transfer-encoding": coding, "content-length": length = "0" } = request.headers;
    const isLong = coding !== undefined || Number(length) > mostUnread;
    if (isLong && !request.raw.complete && !reply.hasHeader("connection")) void reply.header("connection", "close");
    done(null, payload);
  });
  app.addHook("onResponse", (request, reply, done) => {
    // The route and not the path: an upload's path is a secret.
    request.log.debug(
      {
        method: request.method,
        route: request.routeOptions.url,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
      },
      "request",
    );
    done();
  });
  app.setErrorHandler((error, request, reply) => {
    request.log.warn({ err: error, method: request.method, route: request.routeOptions.url }, "request failed");
    return answerError(request, reply, error, []);
  });
  app.setNotFoundHandler((request, reply) =>
    answerError(request, reply, new DvcrError("E_NOT_FOUND", "there is nothing at this path"), []),
  );

  for (const path of ["/healthz", "/healthz/", "/livez", "/livez/"])
    app.get(path, (_request, reply) => reply.type("text/plain").send("ok\n"));
  app.get("/readyz", (_request, reply) => {
    const why = notReady();
    return reply
      .code(why === undefined ? 200 : 503)
      .type("text/plain")
      .send(`${why ?? "ok"}\n`);
  });
  return app;
}

function tlsOptions(config: ServeConfig): ServerOptions | undefined {
  if (config.tlsCertFile === undefined || config.tlsKeyFile === undefined) return undefined;
  return {
    cert: readNamed("tlsCertFile", config.tlsCertFile),
    key: readNamed("tlsKeyFile", config.tlsKeyFile),
    minVersion: config.tlsMinVersion,
  };
}

function readNamed(name: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new DvcrError(
      "E_CONFIG",
      `${name}: got ${JSON.stringify(path)}, expected a readable file (${(error as NodeJS.ErrnoException).code ?? ""})`,
      { cause: error },
    );
  }
}
