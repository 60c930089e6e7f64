import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import type { ImageObject } from "../../../src/service/model/image.ts";
import { eventsOf, eventTime, keyOf, type EventObject } from "../api/images.ts";
import { toApiError, type ApiError } from "../api/problem.ts";
import { Age } from "./age.tsx";
import { Problem } from "./notice.tsx";

/** A change of the object and its event do not come at the same moment. */
const settleMs = 500;

/**
 * What happened to the image. Asked for anew whenever its conditions change: a connection more to watch it is not worth
 * it.
 */
export function EventList({ image }: { readonly image: ImageObject }) {
  const events = useSignal<readonly EventObject[] | undefined>(undefined);
  const error = useSignal<ApiError | undefined>(undefined);
  const { uid, deletionTimestamp } = image.metadata;
  const state = [
    image.status?.phase,
    deletionTimestamp,
    ...(image.status?.conditions ?? []).map(
      ({ type, reason, lastTransitionTime }) => `${type} ${reason} ${lastTransitionTime}`,
    ),
  ].join();
  useEffect(() => {
    let isOver = false;
    const ask = async (): Promise<void> => {
      try {
        const found = await eventsOf(keyOf(image), uid);
        if (!isOver) [events.value, error.value] = [found, undefined];
      } catch (thrown) {
        if (!isOver) error.value = toApiError(thrown);
      }
    };
    void ask();
    const timer = setTimeout(() => void ask(), settleMs);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [uid, state]);

  return (
    <section class="card">
      <h2>Events</h2>
      {error.value !== undefined && <Problem error={error.value} isAlert={false} />}
      {events.value?.length === 0 && <p class="muted">None in the last hour.</p>}
      {events.value !== undefined && events.value.length > 0 && (
        <ol class="events">
          {events.value.map((event) => (
            <li key={event.metadata.uid}>
              <span class={event.type === "Warning" ? "event-reason warning" : "event-reason"}>
                {event.reason}
                {event.type === "Warning" && <span class="visually-hidden"> (warning)</span>}
              </span>
              <span class="event-age muted">
                <Age time={eventTime(event)} />
                {(event.count ?? 1) > 1 && ` ×${String(event.count)}`}
              </span>
              <span class="event-message">{event.message}</span>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}
