/** Garbage collection as a part of the running service: by schedule, and for `dvcr gc` through the control socket. */
import type { Logger } from "../../log/logger.ts";
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
  const looked = warnOfUnknown(collector, deps.log).catch(onError);
  directory.answerWith(controlListener(collector));
  return {
    gate: collector.gate,
    close: async () => {
      running?.stop();
      await collector.close();
      await looked;
    },
  };
}

/**
 * Images that the database has never known are kept; that it is an older one should not go unseen until the next run.
 */
async function warnOfUnknown(collector: GarbageCollector, log: Logger): Promise<void> {
  const { unknown } = await collector.check();
  if (unknown.length === 0) return;
  log.warn(
    { images: unknown.length, first: unknown[0]?.image.repository },
    "images are stored whose resources this database has never known: they are kept, dvcr " +
      "restore makes the resources again",
  );
}
