/** Runs garbage collection at the times of a cron expression. */
import { Cron } from "croner";
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { GarbageCollector } from "./collector.ts";

export interface Schedule {
  /** When it runs next; nothing for an expression that no time matches any more. */
  next(): Date | undefined;
  stop(): void;
}

/** Local time; a run that is due while one runs is left out. @throws DvcrError E_CONFIG. */
export function startSchedule(
  expression: string,
  collector: Pick<GarbageCollector, "run">,
  onError: (error: unknown) => void,
): Schedule {
  try {
    const job = new Cron(expression, { protect: true, unref: true, catch: onError }, async () => {
      await collector.run();
    });
    const stop = (): void => {
      job.stop();
    };
    return { next: () => job.nextRun() ?? undefined, stop };
  } catch (error) {
    throw new DvcrError(
      "E_CONFIG",
      `the schedule of garbage collection, ${JSON.stringify(expression)}, is no cron expression`,
      { cause: error },
    );
  }
}
