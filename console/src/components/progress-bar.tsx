import type { Tone } from "../model/image.ts";

interface ProgressBarProps {
  /** 0 to 100; undefined while it cannot be told. */
  readonly percent: number | undefined;
  readonly label: string;
  readonly tone?: Tone;
}

/** A bar. It is no live region: what is worth hearing is announced elsewhere, and seldom. */
export function ProgressBar({ percent, label, tone = "busy" }: ProgressBarProps) {
  const isKnown = percent !== undefined;
  return (
    <div
      class={`progress ${tone}${isKnown ? "" : " unknown"}`}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      {...(isKnown ? { "aria-valuenow": Math.round(percent * 10) / 10 } : {})}
    >
      <div class="progress-done" style={{ transform: `scaleX(${isKnown ? percent / 100 : 0.3})` }} />
    </div>
  );
}
