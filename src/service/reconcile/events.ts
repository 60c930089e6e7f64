import { randomBytes } from "node:crypto";
import type { ImageObject } from "../model/image.ts";
import type { Draft, KubeObject } from "../model/object.ts";
import type { ResourceStore } from "../store/store.ts";

/** Reasons of events, as the platform has them, and two for what it has no word for. */
export type EventReason =
  | "DataSourceImportStarted"
  | "DataSourceImportCompleted"
  | "DataSourceImportFailed"
  | "DataSourceQuotaExceed"
  | "ImageLost"
  | "ImageFound";

export interface EventObject extends KubeObject {
  readonly kind: "Event";
  readonly involvedObject: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
  };
  readonly reason: EventReason;
  readonly message: string;
  readonly type: "Normal" | "Warning";
  readonly count: number;
  readonly firstTimestamp: string;
  readonly lastTimestamp: string;
  readonly source: { readonly component: string };
  readonly reportingComponent: string;
  readonly reportingInstance: string;
}

const component = "dvcr-images";

/**
 * An event about `image`, in its namespace, or in `default` for a cluster-wide one. The store drops it after some time.
 */
export async function recordEvent(
  store: ResourceStore,
  image: ImageObject,
  event: Pick<EventObject, "type" | "reason" | "message">,
  now: string,
): Promise<void> {
  const { name, namespace, uid } = image.metadata;
  const draft: Draft<EventObject> = {
    apiVersion: "v1",
    kind: "Event",
    // A name may be as long as the longest; what is added must still fit.
    metadata: { name: `${name.slice(0, 236)}.${randomBytes(8).toString("hex")}`, namespace: namespace ?? "default" },
    involvedObject: {
      apiVersion: image.apiVersion,
      kind: image.kind,
      name,
      uid,
      ...(namespace === undefined ? {} : { namespace }),
    },
    ...event,
    count: 1,
    firstTimestamp: now,
    lastTimestamp: now,
    source: { component },
    reportingComponent: component,
    reportingInstance: "",
  };
  await store.create<EventObject>("events", draft);
}
