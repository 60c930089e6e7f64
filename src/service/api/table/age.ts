/** `5m3s`, `2d`: how kubectl shows how long ago something was (apimachinery: duration.HumanDuration). */
export function formatAge(milliseconds: number): string {
  const total = Math.trunc(milliseconds / 1000);
  if (total < -1) return "<invalid>";
  if (total < 0) return "0s";
  if (total < 120) return `${total}s`;
  const minutes = Math.floor(total / 60);
  if (minutes < 10) return two(minutes, "m", total % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return two(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (days < 8) return two(days, "d", hours % 24, "h");
  if (days < 2 * 365) return `${days}d`;
  const years = Math.floor(days / 365);
  return days < 8 * 365 ? two(years, "y", days % 365, "d") : `${years}y`;
}

const two = (large: number, largeUnit: string, small: number, smallUnit: string): string =>
  `${large}${largeUnit}${small === 0 ? "" : `${small}${smallUnit}`}`;

/** Age of an RFC 3339 time; `<unknown>` where there is none. */
export function ageOf(time: unknown, now: number): string {
  const at = typeof time === "string" ? Date.parse(time) : Number.NaN;
  return Number.isNaN(at) ? "<unknown>" : formatAge(now - at);
}
