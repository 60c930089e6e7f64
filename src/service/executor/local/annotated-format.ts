/** The annotation by which the owner of an image declares what will be uploaded to it. */
import { parseSourceFormat, type SourceFormat } from "../../../uploader/source-format.ts";
import type { ResourceStore } from "../../store/store.ts";

export const sourceFormatAnnotation = "virtualization.deckhouse.io/source-format";

/** Names the resource of an upload. */
interface Owner {
  /** `cvi/NAME` or `vi/NAMESPACE/NAME`. */
  readonly label: string;
  readonly namespace: string;
  readonly uid: string;
}

/**
 * What the annotation of an upload's resource says now: asked when an upload begins, so that a change counts for the
 * next one. The function throws E_BAD_REQUEST for an unknown format.
 */
export function annotatedFormats(store: Pick<ResourceStore, "get">) {
  return async ({ label, namespace, uid }: Owner): Promise<SourceFormat | undefined> => {
    const resource = label.startsWith("vi/") ? "virtualimages" : "clustervirtualimages";
    const image = await store.get({ resource, namespace, name: label.slice(label.lastIndexOf("/") + 1) });
    const text = image?.metadata.uid === uid ? image.metadata.annotations?.[sourceFormatAnnotation] : undefined;
    return text === undefined ? undefined : parseSourceFormat(text, `the image's annotation ${sourceFormatAnnotation}`);
  };
}
