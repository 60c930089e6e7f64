/** What the server says of itself: its store. */
import { signal } from "@preact/signals";

import type { ConsoleStatus } from "../../../src/service/console/console-status.ts";
import { request } from "./request.ts";

const intervalMs = 30_000;

export const serverStatus = signal<ConsoleStatus | undefined>(undefined);

/** Asks now; what the server does not tell is not shown. Throws ApiError. */
export async function askStatus(): Promise<void> {
  serverStatus.value = await request<ConsoleStatus>("GET", "/console/status");
}

/** Asks from time to time while somebody looks; gives the function that ends it. */
export function followStatus(): () => void {
  const ask = (): void => void (document.hidden || askStatus().catch(() => (serverStatus.value = undefined)));
  ask();
  const timer = setInterval(ask, intervalMs);
  document.addEventListener("visibilitychange", ask);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", ask);
  };
}
