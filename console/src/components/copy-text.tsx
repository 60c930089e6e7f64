import { useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";

import { CheckIcon, CopyIcon } from "./icons.tsx";

const shownMs = 2000;

interface CopyTextProps {
  readonly text: string;
  /** What it is, for the button's label: `Copy the digest`. */
  readonly name: string;
  /** Keeps its line breaks and scrolls sideways. */
  readonly isBlock?: boolean;
}

/** Text to take away, with a button that copies it. */
export function CopyText({ text, name, isBlock = false }: CopyTextProps) {
  const state = useSignal<"" | "copied" | "selected">("");
  const code = useRef<HTMLElement>(null);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      state.value = "copied";
    } catch {
      // Browsers give the clipboard to secure pages only.
      if (code.current !== null) getSelection()?.selectAllChildren(code.current);
      state.value = "selected";
    }
    setTimeout(() => (state.value = ""), shownMs);
  };
  return (
    <div class={isBlock ? "copy block" : "copy"}>
      {isBlock ? (
        <pre tabIndex={0} role="region" aria-label={name}>
          <code ref={code}>{text}</code>
        </pre>
      ) : (
        <code ref={code}>{text}</code>
      )}
      <button
        type="button"
        class="button quiet icon-only small"
        aria-label={`Copy: ${name}`}
        title="Copy"
        onClick={() => void copy()}
      >
        {state.value === "copied" ? <CheckIcon /> : <CopyIcon />}
      </button>
      <span class="visually-hidden" role="status">
        {state.value === "copied" ? "Copied" : ""}
        {state.value === "selected" ? "Selected; copy it with Ctrl+C" : ""}
      </span>
      {state.value === "selected" && (
        <span class="hint" aria-hidden="true">
          Press Ctrl+C
        </span>
      )}
    </div>
  );
}
