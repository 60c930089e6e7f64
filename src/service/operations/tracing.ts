/**
 * OpenTelemetry traces, where the usual OTEL_* variables ask for them. Without, no SDK is loaded and nothing is
 * recorded.
 */
import { context, propagation, SpanKind, SpanStatusCode, trace, type Span, type Tracer } from "@opentelemetry/api";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import type { Environment } from "../../config/parse.ts";
import type { Executor, RunningJob } from "../executor/executor.ts";

export interface Tracing {
  readonly tracer: Tracer;
  /** Sends what is left. Never throws: traces are no reason to fail. */
  close(): Promise<void>;
}

/** True where traces are wanted: an endpoint is named, and neither the SDK nor its exporter is switched off. */
export function wantsTracing(environment: Environment): boolean {
  const set = (name: string): string => environment[name] ?? "";
  if (set("OTEL_SDK_DISABLED").toLowerCase() === "true") return false;
  const exporter = set("OTEL_TRACES_EXPORTER");
  if (exporter !== "") return exporter === "otlp";
  return set("OTEL_EXPORTER_OTLP_ENDPOINT") !== "" || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") !== "";
}

/** Loads the SDK, which reads the rest of the variables (endpoint, headers, sampler, limits) by itself. */
export async function startTracing(environment: Environment, version: string): Promise<Tracing | undefined> {
  if (!wantsTracing(environment)) return undefined;
  const { NodeTracerProvider, BatchSpanProcessor } = await import("@opentelemetry/sdk-trace-node");
  const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-http");
  const { defaultResource, detectResources, envDetector, resourceFromAttributes } =
    await import("@opentelemetry/resources");
  const resource = defaultResource()
    .merge(resourceFromAttributes({ "service.name": "dvcr", "service.version": version }))
    .merge(detectResources({ detectors: [envDetector] }));
  const provider = new NodeTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
  });
  provider.register();
  return {
    tracer: provider.getTracer("dvcr", version),
    close: () => provider.shutdown().catch(() => undefined),
  };
}

const spans = new WeakMap<FastifyRequest, Span>();

/**
 * A span for every request, below the one that its `traceparent` names. Uploads show by their route, never by their
 * token.
 */
export function traceRequests(app: FastifyInstance, tracer: Tracer): void {
  app.addHook("onRequest", (request, _reply, done) => {
    const parent = propagation.extract(context.active(), request.headers);
    const route = request.routeOptions.url ?? "none";
    const attributes = { "http.request.method": request.method, "http.route": route, "dvcr.request_id": request.id };
    const span = tracer.startSpan(`${request.method} ${route}`, { kind: SpanKind.SERVER, attributes }, parent);
    spans.set(request, span);
    context.with(trace.setSpan(parent, span), done);
  });
  app.addHook("onResponse", (request: FastifyRequest, reply: FastifyReply, done) => {
    const span = spans.get(request);
    span?.setAttribute("http.response.status_code", reply.statusCode);
    if (reply.statusCode >= 500) span?.setStatus({ code: SpanStatusCode.ERROR });
    span?.end();
    done();
  });
}

/** The same executor, with a span for each import from its start to its end. */
export function tracedExecutor(executor: Executor, tracer: Tracer): Executor {
  const ends = new WeakMap<RunningJob, () => void>();
  return {
    start: (job) => {
      const running = executor.start(job);
      if (!ends.has(running)) ends.set(running, follow(running, tracer));
      return running;
    },
    find: (uid) => executor.find(uid),
    running: () => executor.running(),
    use: () => executor.use(),
    stop: async (uid) => {
      const running = executor.find(uid);
      await executor.stop(uid);
      // An import that is cancelled tells nobody.
      if (running !== undefined) ends.get(running)?.();
    },
    close: () => executor.close(),
  };
}

/** Starts the span, which ends with the import or by what is returned. */
function follow(running: RunningJob, tracer: Tracer): () => void {
  const { job } = running;
  const attributes = { "dvcr.image": job.label, "dvcr.image.uid": job.uid, "dvcr.source": job.source.type };
  const span = tracer.startSpan(`import ${job.source.type}`, { attributes, root: true });
  const stop = running.onChange(() => {
    const { phase, sourceBytes, result, error } = running.state();
    if (phase === "running" && span.isRecording()) span.setAttribute("dvcr.source.bytes", sourceBytes);
    if (phase !== "stored" && phase !== "failed") return;
    span.setAttributes({
      "dvcr.source.bytes": sourceBytes,
      ...(result?.format === undefined ? {} : { "dvcr.format": result.format }),
    });
    if (error !== undefined)
      span.setAttribute("error.type", error.code).setStatus({ code: SpanStatusCode.ERROR, message: error.entry.title });
    span.end();
    stop();
  });
  return () => {
    stop();
    if (span.isRecording()) span.setAttribute("error.type", "E_CANCELLED").end();
  };
}
