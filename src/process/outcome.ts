import { exitCode, type DvcrError } from "../errors/dvcr-error.ts";
import type { StoredReport } from "../termination/message.ts";

/** How the one job of a pod process ended. */
export type Outcome<Report = StoredReport> =
  { readonly kind: "stored"; readonly report: Report } | { readonly kind: "failed"; readonly error: DvcrError };

export type StopSignal = "SIGTERM" | "SIGINT";

/** What an exit code depends on besides the outcome. */
export interface EndFacts {
  readonly messageWritten: boolean;
  readonly stoppedBy: StopSignal | undefined;
}

const signalExitCodes: Readonly<Record<StopSignal, number>> = { SIGTERM: 143, SIGINT: 130 };

/**
 * Exit code of a pod process. 0 tells the kubelet not to start it again, so that its message stays to be read: for a
 * stored image, and for a failure that no further try can mend; a fault of the program (E_INTERNAL) was tried again
 * before it comes here, and would be for ever. Never 0 without a message, never 0 when told to stop.
 */
export function podExitCode(outcome: Outcome<unknown>, facts: EndFacts): number {
  if (outcome.kind === "failed" && facts.stoppedBy !== undefined) return signalExitCodes[facts.stoppedBy];
  const isFinal = outcome.kind === "stored" || !outcome.error.mayPass;
  return isFinal && facts.messageWritten ? 0 : 1;
}

/**
 * Exit code of a pod process whose phase alone is looked at, so that 0 must mean success: 1 for a failure that may
 * pass, 3 for one that no further try can cure. A success without its message counts as one that may pass.
 */
export function plainExitCode(outcome: Outcome<unknown>, facts: EndFacts): number {
  if (outcome.kind === "stored") return facts.messageWritten ? 0 : 1;
  if (facts.stoppedBy !== undefined) return signalExitCodes[facts.stoppedBy];
  return exitCode(outcome.error) === 1 ? 1 : 3;
}
