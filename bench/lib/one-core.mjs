/** A cgroup that may use one core, however many the machine has. */
import { mkdir, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const period = "100000";
/** Version 1 keeps a tree per controller; version 2 has one tree, whose root must hand the controller down. */
const kinds = [
  {
    parent: "/sys/fs/cgroup/cpu",
    prepare: [],
    files: [
      ["cpu.cfs_period_us", period],
      ["cpu.cfs_quota_us", period],
    ],
  },
  {
    parent: "/sys/fs/cgroup",
    prepare: [["cgroup.subtree_control", "+cpu"]],
    files: [["cpu.max", `${period} ${period}`]],
  },
];

/**
 * Makes such a group; a process enters by writing its id to `procs`. Nothing where the system allows none (it needs
 * root).
 */
export async function makeOneCore() {
  for (const { parent, prepare, files } of kinds) {
    const group = join(parent, `dvcr-bench-${process.pid}`);
    try {
      for (const [file, text] of prepare) await writeFile(join(parent, file), text, { flag: "r+" });
      await mkdir(group);
      for (const [file, text] of files) await writeFile(join(group, file), text, { flag: "r+" });
      return { procs: join(group, "cgroup.procs"), remove: () => rmdir(group) };
    } catch {
      await rmdir(group).catch(() => undefined);
    }
  }
  return undefined;
}
