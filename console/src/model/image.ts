/** What an image's status means to a person. */
import type { Condition, ImageDataSource, ImageObject, ImagePhase } from "../../../src/service/model/image.ts";

export type Tone = "good" | "busy" | "waiting" | "bad" | "neutral";

interface PhaseLook {
  readonly text: string;
  readonly tone: Tone;
}

const looks: Readonly<Record<ImagePhase, PhaseLook>> = {
  Pending: { text: "Pending", tone: "neutral" },
  WaitForUserUpload: { text: "Waiting for upload", tone: "waiting" },
  Provisioning: { text: "Provisioning", tone: "busy" },
  Ready: { text: "Ready", tone: "good" },
  Failed: { text: "Failed", tone: "bad" },
  Terminating: { text: "Terminating", tone: "neutral" },
  ImageLost: { text: "Image lost", tone: "bad" },
};

/** An object that nobody has looked at yet is pending, and one with a deletion date is going. */
export function phaseOf({ status, metadata }: ImageObject): ImagePhase {
  return metadata.deletionTimestamp !== undefined ? "Terminating" : (status?.phase ?? "Pending");
}

export const phases = Object.keys(looks) as readonly ImagePhase[];

/** A phase this console does not know is shown as it is. */
export function lookOf(phase: ImagePhase): PhaseLook {
  return (looks as Partial<Record<string, PhaseLook>>)[phase] ?? { text: phase, tone: "neutral" };
}

/** 0 to 100, where the status tells. */
export function percentOf({ status }: ImageObject): number | undefined {
  const percent = Number.parseFloat(status?.progress ?? "");
  return Number.isFinite(percent) ? Math.min(100, Math.max(0, percent)) : undefined;
}

/** Bytes, from the decimal text of a status. */
export function bytesOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : undefined;
}

/** True until the image is there or nothing more will come of it. */
export function isUnfinished(image: ImageObject): boolean {
  return ["Pending", "WaitForUserUpload", "Provisioning"].includes(phaseOf(image));
}

/**
 * The condition that says why the image is where it is: of those that do not hold, the image's own where it has failed,
 * and else the first, which is the source's.
 */
export function reasonOf(image: ImageObject): Condition | undefined {
  const open = (image.status?.conditions ?? []).filter(({ status, message }) => status !== "True" && message !== "");
  const hasEnded = ["Failed", "ImageLost"].includes(phaseOf(image));
  return (hasEnded ? open.find(({ type }) => type === "Ready") : undefined) ?? open[0];
}

const sources: Readonly<Record<ImageDataSource["type"], string>> = {
  HTTP: "Link (HTTP)",
  ContainerImage: "Container image",
  ObjectRef: "Existing image",
  Upload: "Upload",
};

/** Kind of source, and what it is. */
export function sourceOf({ spec }: ImageObject): { readonly type: string; readonly detail: string } {
  const { dataSource } = spec;
  const { objectRef } = dataSource;
  const from =
    objectRef === undefined
      ? ""
      : [objectRef.namespace, objectRef.name].filter((part) => part !== undefined && part !== "").join("/");
  const detail =
    dataSource.http?.url ??
    dataSource.containerImage?.image ??
    (objectRef === undefined ? "" : `${objectRef.kind} ${from}`);
  return { type: (sources as Partial<Record<string, string>>)[dataSource.type] ?? dataSource.type, detail };
}

/**
 * Where this page sends an upload: the path of the URL in the status, at the server that the page came from. One
 * process serves both, and the policy of the page allows no other.
 */
export function uploadPath({ status }: ImageObject): string | undefined {
  const url = status?.imageUploadURLs?.external ?? status?.imageUploadURLs?.inCluster;
  if (url === undefined || !URL.canParse(url)) return undefined;
  return /\/upload\/[A-Za-z0-9]+$/.exec(new URL(url).pathname)?.[0];
}
