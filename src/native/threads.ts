import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/**
 * Worker threads worth starting: the CPUs this process may run on, and no more than its cgroup quota allows.
 * Node's own count knows the affinity but, in Node 20, not the quota, and a pod has a quota.
 */
export function usefulThreads(): number {
  return Math.max(1, Math.min(availableParallelism(), Math.ceil(cgroupQuota())));
}

function cgroupQuota(): number {
  return quotaV2() ?? quotaV1() ?? Number.POSITIVE_INFINITY;
}

function quotaV2(): number | undefined {
  const [quota, period] = readWords("/sys/fs/cgroup/cpu.max");
  return ratio(quota, period);
}

function quotaV1(): number | undefined {
  const [quota] = readWords("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  const [period] = readWords("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  return ratio(quota, period);
}

function ratio(quota: string | undefined, period: string | undefined): number | undefined {
  const cores = Number(quota) / Number(period);
  return Number.isFinite(cores) && cores > 0 ? cores : undefined;
}

function readWords(path: string): string[] {
  try {
    return readFileSync(path, "utf8").trim().split(/\s+/);
  } catch {
    return [];
  }
}
