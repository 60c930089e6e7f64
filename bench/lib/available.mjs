/** Which sides can run on this machine, and why others cannot. */
import { findCommand } from "../../scripts/lib/process.mjs";
import { dependenciesAreThere } from "./dependencies.mjs";

/** What is missing for a side to run, as text for a person; nothing where it can. */
export async function missingFor(side, { oneCore }) {
  for (const need of side.needs ?? []) {
    const [name, packageName] = need.split(":");
    if (name === "@importer") {
      if (!process.env["BENCH_IMPORTER"]) return "BENCH_IMPORTER is not set";
    } else if (name === "@one-core") {
      if (oneCore === undefined) return "no cgroup with a CPU quota can be made here";
    } else if (name === "@lzma-native") {
      if (!dependenciesAreThere()) return "lzma-native is not installed (npm ci in bench/)";
    } else if (findCommand(name) === undefined) {
      return `${name} is not installed (Debian package ${packageName})`;
    }
  }
  return undefined;
}
