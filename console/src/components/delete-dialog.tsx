import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import type { ImageObject } from "../../../src/service/model/image.ts";
import { deleteImage, keyOf } from "../api/images.ts";
import { toApiError, type ApiError } from "../api/problem.ts";
import { isUnfinished } from "../model/image.ts";
import { Problem } from "./notice.tsx";

interface DeleteDialogProps {
  readonly image: ImageObject;
  /** `deleted`: the server has agreed. */
  readonly onClose: (deleted: boolean) => void;
}

/** Asks before an image is deleted. The browser's own dialog keeps the focus inside and gives it back. */
export function DeleteDialog({ image, onClose }: DeleteDialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const isBusy = useSignal(false);
  const error = useSignal<ApiError | undefined>(undefined);
  const { name, namespace, uid } = image.metadata;

  useEffect(() => dialog.current?.showModal(), []);

  const confirm = async (): Promise<void> => {
    isBusy.value = true;
    error.value = undefined;
    try {
      await deleteImage(keyOf(image), uid);
      dialog.current?.close("deleted");
    } catch (thrown) {
      const problem = toApiError(thrown);
      if (problem.status === 404) dialog.current?.close("deleted");
      else error.value = problem;
    }
    isBusy.value = false;
  };

  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-labelledby="delete-title"
      aria-describedby="delete-text"
      onClose={(event) => onClose(event.currentTarget.returnValue === "deleted")}
    >
      <h2 id="delete-title">Delete {name}?</h2>
      <p id="delete-text">
        {isUnfinished(image)
          ? "Its import is stopped, and what was stored of it is removed."
          : "The image is removed from the store."}{" "}
        {`It is gone ${namespace === undefined ? "for all namespaces" : `from the namespace ${namespace}`}.`} This
        cannot be undone.
      </p>
      {error.value !== undefined && <Problem error={error.value} />}
      <div class="actions end">
        <button type="button" class="button" onClick={() => dialog.current?.close()}>
          Cancel
        </button>
        <button type="button" class="button danger" disabled={isBusy.value} onClick={() => void confirm()}>
          Delete
        </button>
      </div>
    </dialog>
  );
}
