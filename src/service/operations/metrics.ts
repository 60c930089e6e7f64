/** The service's Prometheus metrics: pulled from the store, the executor and the place for images when asked for. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

import type { Executor, JobState } from "../executor/executor.ts";
import type { ImagePlace, PlaceUsage } from "../images/image-place.ts";
import type { ImageKind, ImageObject, ImagePhase } from "../model/image.ts";
import type { KubeObject } from "../model/object.ts";
import type { Change, ResourceStore } from "../store/store.ts";
import { addTenantMetrics } from "./tenant-metrics.ts";

export interface MetricsSources {
  readonly store: ResourceStore;
  readonly executor: Pick<Executor, "running" | "use">;
  readonly place: Pick<ImagePlace, "usage">;
  readonly version: string;
}

const imageResources = ["clustervirtualimages", "virtualimages"] as const;
const kinds: readonly ImageKind[] = ["ClusterVirtualImage", "VirtualImage"];
const phases: readonly ImagePhase[] = [
  "Pending",
  "WaitForUserUpload",
  "Provisioning",
  "Ready",
  "Failed",
  "Terminating",
  "ImageLost",
];
const jobPhases: readonly JobState["phase"][] = ["queued", "waiting", "running"];
/** Seconds: a small image to a large one over a slow line. */
const importBuckets = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14_400];
const sharedMilliseconds = 1000;
const requestBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** How imports end: phases with the reasons of Ready. */
const endings = [
  ["Ready", "Ready"],
  ["Failed", "ProvisioningFailed"],
  ["Failed", "ProvisioningFailedTerminally"],
  ["Failed", "QuotaExceeded"],
  ["Failed", "WaitForUserUploadTimeout"],
] as const;

/** Everything that `/metrics` shows. close() ends its watching. */
export class ServiceMetrics {
  readonly registry = new Registry();
  readonly #sources: MetricsSources;
  readonly #stops: (() => void)[];
  readonly #started = new Map<string, number>();
  readonly #finished: Counter<"kind" | "phase" | "reason">;
  readonly #importSeconds: Histogram<"kind">;
  readonly #storedBytes: Counter;
  readonly #requestSeconds: Histogram<"method" | "route" | "status">;
  #text: Promise<string> | undefined;

  constructor(sources: MetricsSources) {
    this.#sources = sources;
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    new Gauge({
      name: "dvcr_build_info",
      help: "1; the version stands in the label.",
      labelNames: ["version"],
      registers,
    }).set({ version: sources.version }, 1);
    this.#finished = new Counter({
      name: "dvcr_images_finished_total",
      help: "Imports that ended, by the phase and reason they ended with.",
      labelNames: ["kind", "phase", "reason"],
      registers,
    });
    // There from the start: a rate does not count what a series begins with, so that the first failures would raise no
    // alert.
    for (const kind of kinds) for (const [phase, reason] of endings) this.#finished.inc({ kind, phase, reason }, 0);
    this.#importSeconds = new Histogram({
      name: "dvcr_import_duration_seconds",
      help: "From Provisioning to Ready.",
      labelNames: ["kind"],
      buckets: importBuckets,
      registers,
    });
    this.#storedBytes = new Counter({
      name: "dvcr_stored_bytes_total",
      help: "Bytes of layers of images that became Ready.",
      registers,
    });
    this.#requestSeconds = new Histogram({
      name: "dvcr_http_request_duration_seconds",
      help: "Requests, watches and uploads left out, by route.",
      labelNames: ["method", "route", "status"],
      buckets: requestBuckets,
      registers,
    });
    this.#addImageGauges(registers);
    this.#addJobGauges(registers);
    this.#addPlaceGauges(registers);
    addTenantMetrics(sources, registers);
    this.#stops = imageResources.map((resource) => sources.store.watch(resource, {}, (change) => this.#note(change)));
  }

  /** In the Prometheus text format. All images are counted for it, so that who asks in the same second shares it. */
  text(): Promise<string> {
    if (this.#text === undefined) {
      this.#text = this.registry.metrics();
      setTimeout(() => (this.#text = undefined), sharedMilliseconds).unref();
    }
    return this.#text;
  }

  close(): void {
    for (const stop of this.#stops) stop();
  }

  /** Counts every request of `app`, but those whose length is the client's choice. */
  observeRequests(app: FastifyInstance): void {
    app.addHook("onResponse", (request: FastifyRequest, reply: FastifyReply, done) => {
      const route = request.routeOptions.url ?? "none";
      const isLong =
        route.startsWith("/upload/") ||
        route.startsWith("/v2/") ||
        new URLSearchParams(request.url.split("?")[1]).has("watch");
      if (!isLong)
        this.#requestSeconds.observe(
          { method: request.method, route, status: String(reply.statusCode) },
          reply.elapsedTime / 1000,
        );
      done();
    });
  }

  #addImageGauges(registers: Registry[]): void {
    const { store } = this.#sources;
    new Gauge({
      name: "dvcr_images",
      help: "Images by kind and phase.",
      labelNames: ["kind", "phase"],
      registers,
      async collect() {
        for (const kind of kinds) for (const phase of phases) this.set({ kind, phase }, 0);
        const lists = await Promise.all(imageResources.map((resource) => store.list<ImageObject>(resource)));
        for (const { kind, status } of lists.flatMap(({ items }) => items))
          this.inc({ kind, phase: status?.phase ?? "Pending" });
      },
    });
  }

  #addJobGauges(registers: Registry[]): void {
    const { executor } = this.#sources;
    new Gauge({
      name: "dvcr_imports",
      help: "Imports that run, wait for their upload, or wait for their turn.",
      labelNames: ["phase"],
      registers,
      collect() {
        for (const phase of jobPhases)
          this.set({ phase }, executor.running().filter((job) => job.state().phase === phase).length);
      },
    });
    new Gauge({
      name: "dvcr_import_bytes_per_second",
      help: "Source bytes per second of all imports together.",
      registers,
      collect() {
        this.set(executor.running().reduce((sum, job) => sum + job.state().currentSpeed, 0));
      },
    });
  }

  #addPlaceGauges(registers: Registry[]): void {
    const { place } = this.#sources;
    // Each asks for itself: all are written down at the same time.
    const add = (name: string, help: string, value: (usage: PlaceUsage) => number): Gauge =>
      new Gauge({
        name,
        help,
        registers,
        async collect() {
          // A registry of others does not tell.
          const usage = await place.usage().catch(() => undefined);
          if (usage !== undefined) this.set(value(usage));
        },
      });
    add("dvcr_store_capacity_bytes", "What the store for images may hold.", ({ capacity }) => capacity);
    add("dvcr_store_free_bytes", "Bytes of it that are free.", ({ free }) => free);
    add("dvcr_store_used_bytes", "Bytes of it that are used.", ({ used }) => used);
  }

  #note({ type, object, previous }: Change): void {
    const now = performance.now();
    const { uid } = object.metadata;
    const phase = phaseOf(object);
    if (type === "DELETED") {
      this.#started.delete(uid);
      return;
    }
    if (phase === phaseOf(previous)) return;
    if (phase === "Provisioning") this.#started.set(uid, now);
    if (phase !== "Ready" && phase !== "Failed") return;
    const { kind, status } = object as ImageObject;
    const reason = status?.conditions?.find((condition) => condition.type === "Ready")?.reason ?? "";
    this.#finished.inc({ kind, phase, reason });
    const started = this.#started.get(uid);
    this.#started.delete(uid);
    if (phase === "Failed") return;
    if (started !== undefined) this.#importSeconds.observe({ kind }, (now - started) / 1000);
    this.#storedBytes.inc(Number(status?.size?.storedBytes ?? 0));
  }
}

function phaseOf(object: KubeObject | undefined): ImagePhase | undefined {
  return (object as ImageObject | undefined)?.status?.phase;
}
