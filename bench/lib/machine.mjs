/** What a result was measured on and with. No names of hosts or people. */
import { cpus, release, totalmem } from "node:os";

import { distribution, installedVersions } from "../../scripts/lib/debian.mjs";
import { root } from "../../scripts/lib/paths.mjs";
import { capture } from "../../scripts/lib/process.mjs";
import { packagesFor } from "../../scripts/packages.mjs";

/** The machine by its kind. */
export const machine = () => ({
  cpu: cpus()[0]?.model.trim() ?? "unknown",
  cores: cpus().length,
  memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
  kernel: release(),
  system: distribution().name,
});

/** Versions of Node and of every Debian package that a side may use. */
export async function versions() {
  const installed = distribution().isDebian ? await installedVersions(packagesFor("bench")) : new Map();
  return {
    node: process.versions.node,
    openssl: process.versions.openssl,
    ...Object.fromEntries([...installed].sort()),
  };
}

/** The commit that is measured, with "+" where the checkout differs from it. */
export async function commit() {
  const git = (...args) => capture("git", ["-C", root, ...args]);
  const head = (await git("rev-parse", "--short=12", "HEAD")).stdout.trim();
  const changes = (
    await git(
      "status",
      "--porcelain",
      "--untracked-files=no",
      "--",
      "src",
      "native",
      "bin",
      "bench/*.mjs",
      "bench/lib",
      "bench/peers",
    )
  ).stdout;
  return `${head || "unknown"}${changes === "" ? "" : "+"}`;
}
