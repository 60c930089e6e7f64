/** Garbage collection as a part of the running service: by schedule, and for `dvcr gc` through the control socket. */
import type { ProvisioningGate } from "../reconcile/gate.ts";
import type { DataDirectory } from "../store/data-directory.ts";
import { GarbageCollector, type CollectorDeps } from "./collector.ts";
import { controlListener } from "./control.ts";
import { startSchedule } from "./schedule.ts";

export interface GcServiceDeps extends CollectorDeps {
  readonly directory: DataDirectory;
  /** Cron expression; missing: only when asked for. */
  readonly schedule?: string;
}

export interface GcService {
  /** Closed while it runs. */
  readonly gate: ProvisioningGate;
  /** Stops the schedule and waits for a run to end. */
  close(): Promise<void>;
}

/** @throws DvcrError E_CONFIG for a schedule that is none. */
export function startGcService({ directory, schedule, ...deps }: GcServiceDeps): GcService {
  const collector = new GarbageCollector(deps);
  const onError = (error: unknown): void => deps.log.error({ err: error }, "garbage collection failed");
  const running = schedule === undefined ? undefined : startSchedule(schedule, collector, onError);
  if (running !== undefined) deps.log.info({ schedule, next: running.next() }, "garbage collection is scheduled");
  directory.answerWith(controlListener(collector));
  return {
    gate: collector.gate,
    close: async () => {
      running?.stop();
      await collector.close();
    },
  };
}
