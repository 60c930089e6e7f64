import { signal } from "@preact/signals";

const tickMs = 1000;

/** Milliseconds since 1970, for the ages on the page; moves each second while somebody looks. */
export const now = signal(Date.now());

setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, tickMs);
