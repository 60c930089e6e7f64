import type { ComponentChildren } from "preact";

import type { ApiError } from "../api/problem.ts";
import { AlertIcon, InfoIcon } from "./icons.tsx";

interface NoticeProps {
  readonly tone: "bad" | "waiting" | "neutral";
  /** Said at once by screen readers; for what the person's own action brought about. */
  readonly isAlert?: boolean;
  readonly children: ComponentChildren;
}

/** Something to know, set apart. */
export function Notice({ tone, isAlert = false, children }: NoticeProps) {
  return (
    <div class={`notice ${tone}`} role={isAlert ? "alert" : undefined}>
      {tone === "neutral" ? <InfoIcon /> : <AlertIcon />}
      <div class="notice-text">{children}</div>
    </div>
  );
}

/** A refusal in the server's words, with what to do about it. */
export function Problem({ error, isAlert = true }: { readonly error: ApiError; readonly isAlert?: boolean }) {
  return (
    <Notice tone="bad" isAlert={isAlert}>
      <p>{error.message}</p>
      {error.fix !== undefined && !error.message.includes(error.fix) && <p class="muted">{error.fix}</p>}
    </Notice>
  );
}
