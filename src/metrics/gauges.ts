import { Gauge, Registry } from "prom-client";
import type { ProgressTracker } from "./progress.ts";

export interface ProgressGauges {
  readonly registry: Registry;
  /** Takes the speeds; to be called once per second. */
  readonly update: () => void;
}

/**
 * The three gauges that the controller reads by regular expression: exactly the label `ownerUID`, a finite number, no
 * exponent but with a lower-case e. The percentage is as of the scrape, the speeds as of the last second.
 * `otherName`: one that the percentage is read by too.
 */
export function progressGauges(tracker: ProgressTracker, ownerUid: string, otherName?: string): ProgressGauges {
  const registry = new Registry();
  const gauge = (name: string, help: string, collect?: (this: Gauge<"ownerUID">) => void): Gauge<"ownerUID"> =>
    new Gauge({
      name,
      help,
      labelNames: ["ownerUID"],
      registers: [registry],
      ...(collect === undefined ? {} : { collect }),
    });
  const labels = { ownerUID: ownerUid };
  for (const name of ["registry_progress", ...(otherName === undefined ? [] : [otherName])]) {
    gauge(name, "Source bytes taken in, percent.", function collect() {
      this.set(labels, tracker.percent());
    });
  }
  const average = gauge("registry_average_speed", "Source bytes per second since the import began.");
  const current = gauge("registry_current_speed", "Source bytes per second in the last second.");
  const update = (): void => {
    const sample = tracker.sample();
    average.set(labels, sample.averageSpeed);
    current.set(labels, sample.currentSpeed);
  };
  update();
  return { registry, update };
}
