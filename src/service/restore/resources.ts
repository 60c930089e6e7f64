/** Resources made again from what is stored of their images. */
import type { StoredImage } from "../images/stored-image.ts";
import type { StaleImage } from "../gc/inventory.ts";
import { imageApiVersion, type ImageObject } from "../model/image.ts";
import type { Draft, ResourceName } from "../model/object.ts";
import { isFalse, isTrue, statusOf, storedStatus, type StatusDraft } from "../reconcile/status.ts";
import { withoutConditions } from "../reconcile/presence.ts";
import { imageFinalizer } from "../reconcile/work-context.ts";

export const restoredAnnotation = "virtualization.deckhouse.io/restored-from";

export const resourceOf = ({ kind }: Pick<StaleImage, "kind">): ResourceName =>
  kind === "ClusterVirtualImage" ? "clustervirtualimages" : "virtualimages";

/**
 * A Ready resource that stands for the image: name, namespace and uid are in the image's own name, size and format in
 * its labels. What its source was is not stored with it, so that its source is the image itself.
 */
export function resourceFor(
  { kind, namespace, name, image }: StaleImage,
  stored: StoredImage,
  registryURL: string,
  now: string,
): Draft<ImageObject> {
  const object: ImageObject = {
    apiVersion: imageApiVersion,
    kind,
    metadata: {
      name,
      ...(kind === "VirtualImage" ? { namespace } : {}),
      annotations: { [restoredAnnotation]: registryURL },
      finalizers: [imageFinalizer],
      uid: image.tag,
      resourceVersion: "",
      generation: 1,
      creationTimestamp: now,
    },
    spec: {
      dataSource: { type: "ContainerImage", containerImage: { image: registryURL } },
      ...(kind === "VirtualImage" ? { storage: "ContainerRegistry" as const } : {}),
    },
  };
  return { ...object, status: statusOf(object, readyDraft(stored, registryURL), now) };
}

function readyDraft({ digest, bytes, format, virtualSize }: StoredImage, registryURL: string): StatusDraft {
  const result = {
    manifestDigest: digest,
    storedSize: bytes,
    ...(virtualSize === undefined ? {} : { virtualSize }),
    ...(format === undefined ? {} : { format }),
  };
  const state = { phase: "stored", sourceBytes: 0, percent: 100, averageSpeed: 0, currentSpeed: 0, result } as const;
  return {
    ...storedStatus(state, undefined),
    target: { registryURL },
    datasource: isTrue("DatasourceReady"),
    ready: isTrue("Ready"),
  };
}

/** A resource whose image is gone. */
export function lost(object: ImageObject, now: string): ImageObject {
  const draft: StatusDraft = {
    ...withoutConditions(object.status ?? {}),
    phase: "ImageLost",
    datasource: isTrue("DatasourceReady"),
    ready: isFalse("ImageLost", "the image is not in the store any more; delete the resource and make it again"),
  };
  return { ...object, status: statusOf(object, draft, now) };
}
