/** The texts of `gc check` and `gc run`, line by line as the platform's dvcr-cleaner prints them. */
import type { GcResult } from "./collector.ts";
import type { GcReport, KindCounts, StaleImage } from "./inventory.ts";

const suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const columnWidths = { kind: 22, namespace: 20, size: 7 } as const;

export function checkText({ images, resources, usage, stale, unknown }: GcReport): string {
  const list =
    stale.length === 0 ? ["No images eligible for auto-cleanup."] : ["Images eligible for cleanup:", ...table(stale)];
  return lines([
    `Found ${counts(images)} manifests in registry`,
    `Found ${counts(resources)} resources in cluster`,
    ...usageTable(usage),
    ...list,
    ...keptTable(unknown),
  ]);
}

export function runText({ removed, freed, report }: GcResult): string {
  const list = removed.length === 0 ? ["No images eligible for cleanup."] : ["Images removed:", ...table(removed)];
  return lines([
    ...list,
    `Freed space after cleanup: ${shortBytes(freed)}`,
    ...usageTable(report.usage),
    ...keptTable(report.unknown),
  ]);
}

/** Below what the platform's tool prints: it knows no such images. */
function keptTable(unknown: readonly StaleImage[]): string[] {
  if (unknown.length === 0) return [];
  return [
    "Images kept, since the database has never known their resources (dvcr restore run makes " +
      "them again, dvcr gc run --force removes the images):",
    ...table(unknown),
  ];
}

/**
 * Three digits and a suffix: `36.3GiB`, `1.20MiB`, `512B`. Cut, not rounded, so that free space is never overstated.
 */
export function shortBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < suffixes.length - 1) {
    value /= 1024;
    unit += 1;
  }
  let digits = 0;
  if (unit > 0 && value < 100) digits = value < 10 ? 2 : 1;
  const scale = 10 ** digits;
  return `${(Math.floor(value * scale) / scale).toFixed(digits)}${suffixes[unit]!}B`;
}

function counts({ cvi, vi, vd }: KindCounts): string {
  return `${cvi} cvi, ${vi} vi, ${vd} vd`;
}

function usageTable({ capacity, used, free }: GcReport["usage"]): string[] {
  const percent = capacity === 0 ? 100 : 100 - Math.floor((free * 100) / capacity);
  const row = (cells: readonly string[]) => cells.map((cell) => cell.padStart(columnWidths.size)).join("  ");
  return [
    row(["Total", "Used", "Avail", "Use%"]),
    row([shortBytes(capacity), shortBytes(used), shortBytes(free), `${percent}%`]),
  ];
}

function table(images: readonly StaleImage[]): string[] {
  const row = (kind: string, namespace: string, name: string) =>
    `${kind.padEnd(columnWidths.kind)} ${namespace.padEnd(columnWidths.namespace)} ${name}`;
  return [row("KIND", "NAMESPACE", "NAME"), ...images.map(({ kind, namespace, name }) => row(kind, namespace, name))];
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join("");
}
