import { ageText, timeText } from "../model/format.ts";
import { now } from "./clock.ts";

/** How long ago something was; the exact time shows on hovering. */
export function Age({ time }: { readonly time: string }) {
  return (
    <time dateTime={time} title={timeText(time)}>
      {ageText(time, now.value)}
    </time>
  );
}
