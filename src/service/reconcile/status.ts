/** The status of an image, built anew at each turn: only the times of its conditions' transitions are carried over. */
import { redactText } from "../../log/redact.ts";
import type { JobState, WaitsFor } from "../executor/executor.ts";
import type { StoredImage } from "../images/stored-image.ts";
import type { Condition, ImageObject, ImageStatus } from "../model/image.ts";
import { formatPercent, formatRunningPercent, formatSize, formatSpeed } from "../model/quantities.ts";

/** One condition as it should read now. */
export interface ConditionDraft {
  readonly status: Condition["status"];
  readonly reason: string;
  readonly message: string;
}

export interface StatusDraft extends Omit<ImageStatus, "conditions" | "observedGeneration"> {
  readonly datasource: ConditionDraft;
  readonly ready: ConditionDraft;
}

export const isTrue = (reason: string, message = ""): ConditionDraft => ({ status: "True", reason, message });
export const isFalse = (reason: string, message: string): ConditionDraft => ({ status: "False", reason, message });
export const isUnknown = (reason: string, message: string): ConditionDraft => ({ status: "Unknown", reason, message });

/** The status that `draft` means for `image`. `now` in RFC 3339, whole seconds. */
export function statusOf(image: ImageObject, { datasource, ready, ...rest }: StatusDraft, now: string): ImageStatus {
  const { generation } = image.metadata;
  return {
    cdrom: false,
    ...rest,
    conditions: [conditionOf(image, "DatasourceReady", datasource, now), conditionOf(image, "Ready", ready, now)],
    observedGeneration: generation,
  };
}

function conditionOf(image: ImageObject, type: string, draft: ConditionDraft, now: string): Condition {
  const before = image.status?.conditions?.find((one) => one.type === type);
  const lastTransitionTime = before?.status === draft.status ? before.lastTransitionTime : now;
  return { type, ...draft, lastTransitionTime, observedGeneration: image.metadata.generation };
}

/** Percent that a published progress means. */
const percentIn = (progress: string | undefined): number => Number(progress?.replace("%", "") ?? 0);

/** Progress and speed of a job that runs; what was published of it before never goes back. */
export function runningStatus(
  before: ImageStatus | undefined,
  state: JobState,
): Pick<ImageStatus, "progress" | "downloadSpeed"> {
  if (state.sourceBytes === 0 && before?.progress === undefined) return {};
  const progress = percentIn(before?.progress) > state.percent ? before?.progress : formatRunningPercent(state.percent);
  const { averageSpeed, currentSpeed } = state;
  return {
    ...(progress === undefined ? {} : { progress }),
    downloadSpeed: {
      ...averageOf(averageSpeed),
      current: formatSpeed(currentSpeed),
      currentBytes: String(Math.round(currentSpeed)),
    },
  };
}

/** What Ready says of a job that has not had its turn yet. */
export const turnMessage = "other imports are running; this one waits for its turn";

/** What Ready says while a job runs; where something is away or waited for, that and what. */
export function runningMessage({ retrying, waitsFor }: JobState): string {
  const message = waitsFor === undefined ? "the image is being imported" : messageOf(waitsFor);
  return retrying === undefined ? message : redactText(`${message}; trying again after ${retrying.toLine()}`);
}

function messageOf(waitsFor: WaitsFor): string {
  switch (waitsFor.what) {
    case "turn":
      return "the import waits while others take their turn, then goes on";
    case "source":
      return `the image is being imported; nothing has come from ${waitsFor.name} for a while, and it is waited for`;
    case "client": {
      const { offset, total } = waitsFor;
      const part = total === undefined ? formatSize(offset) : `${formatSize(offset)} of ${formatSize(total)}`;
      return (
        `the upload was cut after ${part} and waits for its client, who may go on from there or ` +
        `send the whole file again; \`dvcr upload\` goes on by itself`
      );
    }
  }
}

/** What Ready says while an upload is waited for; what refused the one before, where that may be tried again. */
export function waitingMessage({ retrying }: JobState): string {
  const message = "waiting for the file; send it to status.imageUploadURLs";
  return retrying === undefined ? message : redactText(`${message}; the last upload ended with ${retrying.toLine()}`);
}

const averageOf = (speed: number) => ({ avg: formatSpeed(speed), avgBytes: String(Math.round(speed)) });

/** What remains of a job that has stored its image; a copy has format and sizes of its source, `inherited`. */
export function storedStatus(
  { result }: JobState,
  inherited: ImageStatus | undefined,
): Omit<StatusDraft, "datasource" | "ready"> {
  const format = result?.format ?? inherited?.format;
  return {
    phase: "Ready",
    progress: formatPercent(100),
    cdrom: format?.toLowerCase() === "iso",
    ...(format === undefined ? {} : { format }),
    ...(result?.storedSize === undefined
      ? inherited?.size === undefined
        ? {}
        : { size: inherited.size }
      : { size: sizesOf(result.storedSize, result.virtualSize ?? 0) }),
    ...(result?.averageSpeed === undefined ? {} : { downloadSpeed: averageOf(result.averageSpeed) }),
    ...(result === undefined ? {} : { digest: result.manifestDigest }),
  };
}

/** The status of a stored image, with what the place says of it instead of what anybody has written. */
export function repairedStatus(status: ImageStatus, facts: StoredImage, registryURL: string): ImageStatus {
  const unpacked = facts.virtualSize ?? Number(status.size?.unpackedBytes ?? 0);
  return { ...status, size: sizesOf(facts.bytes, unpacked), digest: facts.digest, target: { registryURL } };
}

function sizesOf(stored: number, unpacked: number): NonNullable<ImageStatus["size"]> {
  return {
    stored: formatSize(stored),
    storedBytes: String(stored),
    unpacked: formatSize(unpacked),
    unpackedBytes: String(unpacked),
  };
}
