import { serverStatus } from "../api/server-status.ts";
import { bytesText } from "../model/format.ts";
import { ProgressBar } from "./progress-bar.tsx";

/** Above this part of the capacity the store counts as nearly full. */
const nearlyFull = 0.9;

/** How full the server's store is. Nothing where the server does not tell. */
export function StoreMeter() {
  const store = serverStatus.value?.store;
  if (store === undefined || store.capacity <= 0) return null;
  const part = Math.min(1, store.used / store.capacity);
  const text = `${bytesText(store.used)} of ${bytesText(store.capacity)} used`;
  return (
    <div class="store-meter" title={`${bytesText(store.free)} free`}>
      <span>
        <span class="wide-only">Store: </span>
        {text}
      </span>
      <ProgressBar percent={part * 100} label={`Store: ${text}`} tone={part >= nearlyFull ? "bad" : "neutral"} />
    </div>
  );
}
