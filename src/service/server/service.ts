/** The images service, wired together: opened in order, closed in the reverse of it. */
import { mkdir } from "node:fs/promises";
import type { Environment } from "../../config/parse.ts";
import type { ServeConfig } from "../../config/serve-config.ts";
import { version } from "../../config/version.ts";
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { Logger } from "../../log/logger.ts";
import { addon } from "../../native/addon.ts";
import { usefulThreads } from "../../native/threads.ts";
import { ImportMemory } from "../../pipeline/import-memory.ts";
import { importingWith } from "../../pipeline/run-import.ts";
import { closeGracefully, listen } from "../../uploader/listen.ts";
import { apiRoutes } from "../api/routes.ts";
import { consolePages } from "../console/console-pages.ts";
import { consoleStatusRoute } from "../console/console-status-route.ts";
import { distributionRoutes } from "../distribution/routes.ts";
import { annotatedFormats } from "../executor/local/annotated-format.ts";
import { LocalExecutor } from "../executor/local/local-executor.ts";
import { startGcService } from "../gc/service.ts";
import { ServiceMetrics } from "../operations/metrics.ts";
import { ProbeThread } from "../operations/probe-thread.ts";
import { startTracing, tracedExecutor, traceRequests } from "../operations/tracing.ts";
import { NamespaceQuota } from "../reconcile/quota.ts";
import { ImageReconciler } from "../reconcile/reconciler.ts";
import { everybody, requireUser, tokenAuthenticator, userOf } from "../security/authenticate.ts";
import { authorize, type User } from "../security/authorize.ts";
import { TokenFileUsers } from "../security/token-file.ts";
import { DataDirectory } from "../store/data-directory.ts";
import { SqliteStore } from "../store/sqlite-store.ts";
import { UploadTokens } from "../uploads/tokens.ts";
import { uploadRoutes } from "../uploads/upload-routes.ts";
import { Addresses } from "./addresses.ts";
import { buildServeApp } from "./app.ts";
import { openPlace } from "./open-place.ts";
import { admissionLimits, executorSettings } from "./settings.ts";

export interface Service {
  /** URL by which it is reached from this machine. */
  readonly url: string;
  /** Where `probeListen` is set. */
  readonly probePort?: number;
  /** Takes over what may change while it runs. */
  readonly reconfigure: (config: ServeConfig) => void;
  /** Ends what runs; resources and stored images stay, and what ran begins again at the next start. */
  close(): Promise<void>;
}

/** What /readyz says while nothing new can be taken. Deleting and collecting go on. */
const diskFull = new DvcrError("E_STORE_FULL", "new resources are refused with 507").toLine();

/** What was opened, to be closed in the reverse order. */
class Opened {
  readonly #closers: (() => Promise<unknown>)[] = [];

  add<T>(opened: T, close: (opened: T) => Promise<unknown>): T {
    this.#closers.unshift(() => close(opened));
    return opened;
  }

  /** Closes everything, whatever fails, and throws the first failure. */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const close of this.#closers.splice(0)) await close().catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  }
}

/**
 * Opens everything and listens; `environment` is read for OTEL_*. Throws E_CONFIG, E_DATA_DIR_IN_USE, E_STORE_IO,
 * E_LAYOUT_IO.
 */
export async function startService(config: ServeConfig, log: Logger, environment: Environment = {}): Promise<Service> {
  const opened = new Opened();
  try {
    return await start(config, log, environment, opened);
  } catch (error) {
    await opened.close().catch(() => undefined);
    throw error;
  }
}

async function start(config: ServeConfig, log: Logger, environment: Environment, opened: Opened): Promise<Service> {
  let current = config;
  let notReady: string | undefined = "starting";
  const onError = (error: unknown): void => {
    log.error({ err: error }, "the service met a problem");
  };
  addon.runInService(usefulThreads());
  // First of all: the database may take a while to be checked.
  const probes = config.probeListen && opened.add(await ProbeThread.start(config.probeListen), (one) => one.close());
  const addresses = new Addresses(config);
  const directory = opened.add(await DataDirectory.acquire(config.dataDir), (one) => one.release());
  await mkdir(config.scratchDir, { recursive: true, mode: 0o700 });
  const store = opened.add(await SqliteStore.open(directory, { onError }), (one) => one.close());
  const { place, blobs, setLimit } = await openPlace(
    config,
    { directory, database: store },
    () => addresses.registryHost,
    log,
  );
  opened.add(place, (one) => one.close());
  const tracing = await startTracing(environment, version);
  if (tracing !== undefined) opened.add(tracing, (one) => one.close());
  const authenticator =
    config.tokenFile === undefined
      ? everybody
      : tokenAuthenticator(await TokenFileUsers.open(config.tokenFile, onError));

  const whyNotReady = (): string | undefined =>
    notReady ?? store.trouble ?? (directory.reserve.hasRoom() ? undefined : diskFull);
  const app = opened.add(
    await buildServeApp({ config, log, isAuthenticated: authenticator.isOn, notReady: whyNotReady }),
    closeGracefully,
  );
  const tokens = new UploadTokens();
  const limits = () => admissionLimits(current);
  const quota = new NamespaceQuota(store, place, limits);
  const local = new LocalExecutor({
    place,
    importImage: importingWith(new ImportMemory()),
    tokens,
    log,
    beforeStored: (uid, bytes) => quota.claim(uid, bytes),
    declaredFormatOf: annotatedFormats(store),
    settings: executorSettings(config),
  });
  const executor = opened.add(tracing === undefined ? local : tracedExecutor(local, tracing.tracer), (one) =>
    one.close(),
  );
  const metrics = new ServiceMetrics({ store, executor, place, version });
  app.addHook("onClose", () => {
    metrics.close();
  });
  metrics.observeRequests(app);
  const maySeeMetrics = (user: User): boolean => authorize(user, { verb: "get", resource: "metrics" });
  probes?.serve({
    notReady: whyNotReady,
    metrics: () => metrics.text(),
    metricsTokens: () => authenticator.digests(maySeeMetrics),
    onError,
  });
  if (tracing !== undefined) traceRequests(app, tracing.tracer);

  await app.register(uploadRoutes, { prefix: "/upload", tokens });
  await app.register(consolePages, { log });
  if (blobs !== undefined) await app.register(distributionRoutes({ blobs, authenticator, authorize }));
  await app.register(async (known) => {
    known.addHook("onRequest", requireUser(authenticator, "Bearer"));
    consoleStatusRoute(known, { version, place, authorize });
    known.get("/metrics", async (request, reply) => {
      if (!maySeeMetrics(userOf(request))) throw new DvcrError("E_NOT_ALLOWED", "you may not see the metrics");
      return await reply.type(metrics.registry.contentType).send(await metrics.text());
    });
    await known.register(apiRoutes({ store, authorize, isCurrent: (user) => authenticator.isCurrent(user), log }));
  });
  // A registry may hold the images of others, and collects by itself.
  const schedule = config.gcSchedule === undefined ? {} : { schedule: config.gcSchedule };
  const gcDeps = { directory, store, place, log, maxShare: config.gcMaxShare / 100, ...schedule };
  const gc = blobs === undefined ? undefined : opened.add(startGcService({ ...gcDeps, blobs }), (one) => one.close());
  const reconciler = opened.add(
    new ImageReconciler({
      store,
      executor,
      place,
      ...(gc === undefined ? {} : { gate: gc.gate }),
      quota,
      limits,
      uploadUrls: (token) => addresses.uploadUrls(token),
      uploadTimeoutMs: config.uploadStartTimeout * 1000,
      presenceCheckMs: config.presenceCheckSeconds * 1000,
      log,
    }),
    (one) => one.close(),
  );

  addresses.listensOn(await listen(app, "listen", config.listen.host, config.listen.port));
  await reconciler.start();
  notReady = undefined;
  probes?.tell();
  return {
    ...(probes === undefined ? {} : { probePort: probes.port }),
    get url() {
      return addresses.internal;
    },
    reconfigure: (next) => {
      current = next;
      setLimit(next.capacity);
    },
    close: () => {
      notReady = "stopping";
      probes?.tell();
      return opened.close();
    },
  };
}
