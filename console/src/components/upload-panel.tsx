import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import type { ImageObject } from "../../../src/service/model/image.ts";
import { uploadPath } from "../model/image.ts";
import { bytesText } from "../model/format.ts";
import { begunUpload } from "../uploads/identity.ts";
import { startUpload, takeChosen, uploads } from "../uploads/uploads.ts";
import { FileDrop } from "./file-drop.tsx";
import { Notice } from "./notice.tsx";
import { UploadProgress } from "./upload-progress.tsx";

/** Sends a file to an image that waits for one: begins, shows, and goes on after a reload. */
export function UploadPanel({ image }: { readonly image: ImageObject }) {
  const { uid } = image.metadata;
  const path = uploadPath(image);
  const upload = uploads.value.get(uid);
  const refused = useSignal<{ readonly file: File; readonly why: string } | undefined>(undefined);
  const problem = useSignal<string | undefined>(undefined);

  const start = async (file: File, anew = false): Promise<void> => {
    if (path === undefined) return;
    refused.value = undefined;
    problem.value = undefined;
    try {
      const why = await startUpload(uid, path, file, anew);
      if (why !== undefined) refused.value = { file, why };
    } catch {
      problem.value = `${file.name} cannot be read. Folders cannot be sent; choose a file.`;
    }
  };
  useEffect(() => {
    const file = path === undefined ? undefined : takeChosen(uid);
    if (file !== undefined) void start(file);
  }, [uid, path]);

  if (path === undefined) {
    // Whether nobody has made an address yet, or this person may not see it, cannot be told from here.
    return image.status?.phase === "WaitForUserUpload" ? (
      <Notice tone="neutral">
        <p>The address for the upload is shown only to those who may change this image.</p>
      </Notice>
    ) : null;
  }
  if (upload !== undefined) return <UploadProgress upload={upload} />;
  const begun = begunUpload(uid);
  const isBegun = image.status?.phase === "Provisioning";
  return (
    <section class="card">
      <h2>{begun === undefined ? "Upload from Computer" : "Go on with the upload"}</h2>
      {begun !== undefined && (
        <p>
          The upload of <strong class="breakable">{begun.name}</strong> ({bytesText(begun.size)}) was interrupted.
          Choose the same file again, and it goes on where it was.
        </p>
      )}
      {begun === undefined && isBegun && (
        <p>Somebody is uploading a file to this image already, from another browser or with curl.</p>
      )}
      <FileDrop
        id="upload-file"
        label={begun === undefined ? "Choose a file" : "Choose the file again"}
        onFile={(file) => void start(file)}
        error={problem.value}
      />
      {refused.value !== undefined && (
        <Notice tone="waiting" isAlert>
          <p>
            <strong class="breakable">{refused.value.file.name}</strong> is not the file that was begun:{" "}
            {refused.value.why}.
          </p>
          <button
            type="button"
            class="button"
            onClick={() => refused.value !== undefined && void start(refused.value.file, true)}
          >
            Start over with this file
          </button>
        </Notice>
      )}
    </section>
  );
}
