/** How much memory many processes take together. */
import { readdirSync, readFileSync } from "node:fs";

const pause = 100;
const pageSize = 4096;

/**
 * Follows the processes of the group `group`; `stop()` gives the largest sum of their resident sets seen, in bytes.
 * What they share counts in each.
 */
export function watchMemory(group) {
  let largest = 0;
  const look = () => (largest = Math.max(largest, residentBytes(group)));
  const timer = setInterval(look, pause);
  return {
    stop: () => {
      clearInterval(timer);
      return largest;
    },
  };
}

function residentBytes(group) {
  let pages = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const line = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
      if (Number(fields[2]) === group) pages += Number(fields[21]);
    } catch {
      // Ended meanwhile.
    }
  }
  return pages * pageSize;
}
