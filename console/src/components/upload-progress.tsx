import { useComputed } from "@preact/signals";

import { bytesText, durationText } from "../model/format.ts";
import type { FileUpload, UploadState } from "../uploads/file-upload.ts";
import { PauseIcon, PlayIcon } from "./icons.tsx";
import { Problem } from "./notice.tsx";
import { ProgressBar } from "./progress-bar.tsx";

const words: Readonly<Record<UploadState, string>> = {
  sending: "Uploading",
  paused: "Paused",
  waiting: "Connection lost, trying again",
  finishing: "All bytes are sent; the image is being stored",
  stored: "Stored",
  failed: "The upload failed",
};

/** How an upload from this page goes, with its controls. */
export function UploadProgress({ upload }: { readonly upload: FileUpload }) {
  const state = upload.state.value;
  const { size, name } = upload.file;
  const sent = upload.sent.value;
  const speed = upload.speed.value;
  const percent = size === 0 ? 100 : Math.floor((sent / size) * 1000) / 10;
  // Said at each quarter and with each change of state; a reader that told every percent would be silenced.
  const said = useComputed(() => {
    const quarter =
      upload.state.value === "sending" ? ` ${Math.floor((upload.sent.value / Math.max(1, size)) * 4) * 25} %` : "";
    return `${words[upload.state.value]}${quarter}`;
  });
  const left = speed === undefined || speed <= 0 ? undefined : (size - sent) / speed;
  return (
    <section class="card upload" data-upload-state={state}>
      <div class="upload-head">
        <h2>{words[state]}</h2>
        {state === "sending" || state === "waiting" ? (
          <button type="button" class="button" onClick={() => upload.pause()}>
            <PauseIcon />
            Pause
          </button>
        ) : null}
        {state === "paused" ? (
          <button type="button" class="button primary" onClick={() => upload.resume()}>
            <PlayIcon />
            Resume
          </button>
        ) : null}
        {state === "failed" ? (
          <div class="actions">
            <button type="button" class="button" onClick={() => upload.resume(true)}>
              Start over
            </button>
            <button type="button" class="button primary" onClick={() => upload.resume()}>
              Try again
            </button>
          </div>
        ) : null}
      </div>
      <p class="upload-file breakable">{name}</p>
      <ProgressBar
        percent={percent}
        label={`Upload of ${name}`}
        tone={state === "failed" ? "bad" : state === "paused" || state === "waiting" ? "waiting" : "busy"}
      />
      <dl class="upload-figures">
        <div>
          <dt>Sent</dt>
          <dd>
            {bytesText(sent)} of {bytesText(size)}
          </dd>
        </div>
        <div>
          <dt>Done</dt>
          <dd>{percent.toFixed(1)} %</dd>
        </div>
        <div>
          <dt>Speed</dt>
          <dd>{speed === undefined ? "–" : `${bytesText(speed)}/s`}</dd>
        </div>
        <div>
          <dt>Time left</dt>
          <dd>{left === undefined ? "–" : durationText(left)}</dd>
        </div>
      </dl>
      {upload.error.value !== undefined && state !== "sending" && (
        <Problem error={upload.error.value} isAlert={state === "failed"} />
      )}
      <p class="visually-hidden" role="status">
        {said.value}
      </p>
    </section>
  );
}
