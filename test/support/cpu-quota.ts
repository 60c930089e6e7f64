/** A cgroup that may use one core, however many the machine has. */
import { mkdir, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface CpuQuota {
  /** Runs what follows it inside the group. */
  readonly wrapper: readonly string[];
  remove(): Promise<void>;
}

const period = 100_000;

/** Makes such a group; where the system allows none, gives the reason as a text. Needs root. */
export async function oneCoreQuota(): Promise<CpuQuota | string> {
  const name = `dvcr-test-${process.pid}`;
  const reasons: string[] = [];
  // Version 1 keeps a tree per controller; version 2 has one tree, whose root must hand the controller down.
  for (const [parent, prepare, files] of [
    [
      "/sys/fs/cgroup/cpu",
      [],
      [
        ["cpu.cfs_period_us", String(period)],
        ["cpu.cfs_quota_us", String(period)],
      ],
    ],
    ["/sys/fs/cgroup", [["cgroup.subtree_control", "+cpu"]], [["cpu.max", `${period} ${period}`]]],
  ] as const) {
    const group = join(parent, name);
    try {
      for (const [file, text] of prepare) await writeFile(join(parent, file), text, { flag: "r+" });
      await mkdir(group);
      for (const [file, text] of files) await writeFile(join(group, file), text, { flag: "r+" });
      return {
        wrapper: ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', join(group, "cgroup.procs")],
        remove: () => rmdir(group),
      };
    } catch (error) {
      reasons.push(String(error));
      await rmdir(group).catch(() => undefined);
    }
  }
  return reasons.join("; ");
}
