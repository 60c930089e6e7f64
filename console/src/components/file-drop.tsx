import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";

import { bytesText } from "../model/format.ts";
import { UploadIcon } from "./icons.tsx";

interface FileDropProps {
  readonly id: string;
  readonly label: string;
  readonly file?: File | undefined;
  readonly hint?: string;
  readonly error?: string | undefined;
  readonly onFile: (file: File) => void;
}

/**
 * Takes one file, dropped or chosen. The control itself is the browser's own, so that a keyboard and a reader know it.
 */
export function FileDrop({ id, label, file, hint, error, onFile }: FileDropProps) {
  const input = useRef<HTMLInputElement>(null);
  const isOver = useSignal(false);
  const take = (files: FileList | null | undefined): void => {
    const first = files?.item(0);
    if (first !== null && first !== undefined) onFile(first);
  };
  return (
    <div class={error === undefined ? "field" : "field wrong"}>
      <div
        class={isOver.value ? "drop over" : "drop"}
        onDragOver={(event) => {
          event.preventDefault();
          isOver.value = true;
        }}
        onDragLeave={() => (isOver.value = false)}
        onDrop={(event) => {
          event.preventDefault();
          isOver.value = false;
          take(event.dataTransfer?.files);
        }}
        onClick={(event) => {
          if (event.target === event.currentTarget) input.current?.click();
        }}
      >
        <UploadIcon />
        <label for={id}>{label}</label>
        <input
          ref={input}
          id={id}
          type="file"
          aria-describedby={`${id}-hint`}
          onChange={(event) => {
            take(event.currentTarget.files);
            event.currentTarget.value = "";
          }}
        />
        <p class="hint" id={`${id}-hint`}>
          {file === undefined ? (hint ?? "or drop it here") : `${file.name}, ${bytesText(file.size)}`}
        </p>
      </div>
      {error !== undefined && (
        <p class="field-error" role="alert">
          {error}
        </p>
      )}
    </div>
  );
}
