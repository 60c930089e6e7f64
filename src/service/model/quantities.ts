/** Sizes, speeds and percentages as status shows them (contract, section 3). */

const suffixes = ["B", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] as const;

/** `285.9Mi`: base 1024, one decimal where it is not zero. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // Compared as rounded: 1023.96 would read as 1024.
  while (Math.round(value * 10) / 10 >= 1024 && unit < suffixes.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : Math.round(value * 10) / 10}${suffixes[unit]!}`;
}

/** `12.3Mi/s` */
export function formatSpeed(bytesPerSecond: number): string {
  return `${formatSize(bytesPerSecond)}/s`;
}

/** `0%`, `28.2%`, `100%` of 0 to 100. */
export function formatPercent(percent: number): string {
  if (percent <= 0) return "0%";
  return percent >= 100 ? "100%" : `${percent.toFixed(1)}%`;
}

/** While an import runs it never reads as done: the image is stored only afterwards. */
export function formatRunningPercent(percent: number): string {
  // Cut, not rounded, so that the last step before 100 cannot show as 100.0.
  return formatPercent(Math.min(99.9, Math.floor(percent * 10) / 10 || (percent > 0 ? 0.01 : 0)));
}
