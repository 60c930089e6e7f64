/** The middle of the values; of an even count the mean of the middle two. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The value that `share` (0 to 1) of the values do not exceed. */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}

const measured = ["wall", "cpu", "user", "system", "registryCpu", "originCpu", "rss", "scratch", "network"];

/** Median of each figure over the runs of one side, and the smallest and largest wall time. */
export function summary(runs) {
  const figures = Object.fromEntries(measured.map((name) => [name, median(runs.map((run) => run[name]))]));
  const walls = runs.map((run) => run.wall);
  // What must stay below a limit is judged by the worst run.
  return {
    ...figures,
    rss: Math.max(...runs.map((run) => run.rss)),
    scratch: Math.max(...runs.map((run) => run.scratch)),
    fastest: Math.min(...walls),
    slowest: Math.max(...walls),
    rounds: runs.length,
  };
}
