import type { ImagePhase } from "../../../src/service/model/image.ts";
import { lookOf } from "../model/image.ts";

/** The phase as a coloured word; the colour adds nothing that the word does not say. */
export function PhaseBadge({ phase }: { readonly phase: ImagePhase }) {
  const { text, tone } = lookOf(phase);
  return (
    <span class={`badge ${tone}`} data-phase={phase}>
      <span class="badge-dot" aria-hidden="true" />
      {text}
    </span>
  );
}
