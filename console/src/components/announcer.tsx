import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";

import type { ImageObject } from "../../../src/service/model/image.ts";
import { lookOf, phaseOf } from "../model/image.ts";

/** Tells screen readers when an image changes its phase, and nothing of its percents. */
export function PhaseAnnouncer({ images }: { readonly images: Iterable<ImageObject> }) {
  const known = useRef(new Map<string, string>());
  const text = useSignal("");
  useEffect(() => {
    const said: string[] = [];
    for (const image of images) {
      const { uid, name } = image.metadata;
      const phase = lookOf(phaseOf(image)).text;
      const before = known.current.get(uid);
      if (before !== undefined && before !== phase) said.push(`${name}: ${phase}`);
      known.current.set(uid, phase);
    }
    if (said.length > 0) text.value = said.join(", ");
  }, [images]);
  return (
    <p class="visually-hidden" role="status" data-announcer>
      {text.value}
    </p>
  );
}
