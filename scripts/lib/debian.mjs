import { readFileSync } from "node:fs";

import { packagesFor } from "../packages.mjs";
import { capture, findCommand, run, Stop } from "./process.mjs";

/** What /etc/os-release says: Debian and its children have dpkg and these package names. */
export function distribution() {
  const fields = {};
  try {
    for (const line of readFileSync("/etc/os-release", "utf8").split("\n")) {
      const match = /^([A-Z_]+)="?([^"]*)"?$/.exec(line);
      if (match) fields[match[1]] = match[2];
    }
  } catch {
    // No such file: not a distribution we know.
  }
  const family = [fields.ID, ...(fields.ID_LIKE ?? "").split(" ")];
  return {
    name: fields.PRETTY_NAME ?? "this system",
    isDebian: family.includes("debian") && findCommand("dpkg-query") !== undefined,
  };
}

/** Installed version by package name; packages that are not (or half) installed are left out. */
export async function installedVersions(packages) {
  const { stdout } = await capture("dpkg-query", [
    "-W",
    "-f",
    "${db:Status-Abbrev}|${Package}|${Version}\n",
    ...packages,
  ]);
  const rows = stdout.split("\n").map((line) => line.split("|"));
  return new Map(rows.filter(([status]) => status?.startsWith("ii")).map(([, name, version]) => [name, version]));
}

/** Versions of all that goes into the addon, as lines; empty where there is no dpkg. */
export async function toolchainVersions() {
  if (!distribution().isDebian) return [];
  const versions = await installedVersions(packagesFor("demo"));
  return toolchainOf(versions);
}

/** The part of installedVersions() that goes into the addon: compiler and -dev packages. */
export function toolchainOf(versions) {
  const parts = [...versions].filter(([name]) => name === "g++" || name.endsWith("-dev"));
  return parts.map(([name, version]) => `${name}=${version}`).sort();
}

/** The one line a person can copy. */
const installLine = (packages) => `sudo apt-get install -y --no-install-recommends ${packages.join(" ")}`;

/**
 * How to become root for apt-get: a command prefix, empty for root itself, `sudo -n` where it asks nothing.
 * @throws Stop with exit code 2 and the line to run by hand where neither is possible.
 */
export async function rootPrefix(packages) {
  const forbidden = process.env["DVCR_NO_APT"] === "1";
  if (!forbidden && process.getuid?.() === 0) return [];
  if (!forbidden && findCommand("sudo") && (await capture("sudo", ["-n", "true"])).code === 0) return ["sudo", "-n"];
  throw new Stop(
    `${packages.length} Debian packages are missing and may not be installed from here ` +
      `(${forbidden ? "DVCR_NO_APT=1 is set" : "not root, and no sudo without a password"}). ` +
      `Install them and run this again:\n\n${installLine(packages)}\n`,
    2,
  );
}

/** Installs `packages` with apt-get; `prefix` from rootPrefix(). */
export async function installPackages(prefix, packages, log) {
  const [command, ...args] = [...prefix, "sh", "-c", installScript, "install", ...packages];
  await run(command, args, { log });
}

/**
 * Debian starts and enables a package's daemon when it is installed: docker-registry would take port 5000, now and
 * after every boot. While apt-get runs, policy-rc.d forbids starts (a policy that is there already is left alone), and
 * the service we brought in is disabled. The demo and the tests start a registry process of their own.
 */
const installScript = `
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
fi
had_registry=$(dpkg-query -W -f '\${db:Status-Abbrev}' docker-registry 2>/dev/null || true)
install() { apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"; }
if ! install "$@"; then
  echo 'the package lists may be missing or old: updating them and trying again'
  apt-get -o DPkg::Lock::Timeout=300 update
  install "$@"
fi
case "$had_registry" in
  ii*) ;;
  *) if command -v systemctl >/dev/null; then systemctl disable docker-registry >/dev/null 2>&1 || true; fi ;;
esac
`;
