/**
 * What each namespace takes of the service: how much is stored for it, and what its imports and uploads hold and use.
 */
import { Gauge, type Registry } from "prom-client";

import type { Executor, NamespaceUse } from "../executor/executor.ts";
import type { ImageObject } from "../model/image.ts";
import type { ResourceStore } from "../store/store.ts";

export interface TenantSources {
  readonly store: ResourceStore;
  readonly executor: Pick<Executor, "use">;
}

/** Series would grow with names that anybody may choose: beyond so many namespaces, the others count as one. */
const mostNamespaces = 100;
const others = "(others)";
const cluster = "(cluster)";

/** Adds the gauges, which ask when they are read. */
export function addTenantMetrics({ store, executor }: TenantSources, registers: Registry[]): void {
  const labels = new Set<string>();
  /** A namespace keeps its label for as long as the process runs, so that no series jumps. */
  const labelOf = (namespace: string | undefined): string => {
    if (namespace === undefined || namespace === "") return cluster;
    if (!labels.has(namespace) && labels.size >= mostNamespaces) return others;
    labels.add(namespace);
    return namespace;
  };

  new Gauge({
    name: "dvcr_namespace_stored_bytes",
    help: "Bytes of the layers of a namespace's Ready images, shared ones counted for each image.",
    labelNames: ["namespace"],
    registers,
    async collect() {
      this.reset();
      const lists = await Promise.all([
        store.list<ImageObject>("virtualimages"),
        store.list<ImageObject>("clustervirtualimages"),
      ]);
      for (const { metadata, status } of lists.flatMap(({ items }) => items))
        if (status?.phase === "Ready")
          this.inc({ namespace: labelOf(metadata.namespace) }, Number(status.size?.storedBytes ?? 0));
    },
  });
  const add = (name: string, help: string, value: (use: NamespaceUse) => number): Gauge =>
    new Gauge({
      name,
      help,
      labelNames: ["namespace", "work"],
      registers,
      collect() {
        this.reset();
        for (const use of executor.use()) this.inc({ namespace: labelOf(use.namespace), work: use.work }, value(use));
      },
    });
  add("dvcr_namespace_places", "Places that a namespace's imports or uploads hold.", ({ held }) => held);
  add("dvcr_namespace_queued", "A namespace's imports or uploads that wait for a place.", ({ waiting }) => waiting);
  add(
    "dvcr_namespace_idle",
    "A namespace's imports or uploads that have begun and wait for bytes.",
    ({ idle }) => idle,
  );
  add(
    "dvcr_namespace_cpu_seconds",
    "CPU seconds that a namespace's imports or uploads have taken since the start.",
    ({ cpuSeconds }) => cpuSeconds,
  );
}
