/** The result of `npm run bench:core` as the part of docs/benchmarks.md that it writes. */
import { bytes } from "../../scripts/demo/text.mjs";
import { provenance, row } from "./report.mjs";

/** One row per format: our figures, qemu-img's, and both ratios with their targets. */
export function coreMarkdown([record]) {
  const columns = [
    "image",
    "ours",
    "qemu-img",
    "qemu-img -m 2 -W",
    "times as fast",
    "share of CPU",
    "most CPU allowed",
    "",
  ];
  const figures = ({ wall, cpu }) => `${wall.toFixed(2)} s, ${cpu.toFixed(2)} CPU s`;
  const rows = record.results.map(({ input, bytes: size, virtualSize, sides, faster, cpuShare, mostCpu, met }) =>
    row([
      `${input}: ${bytes(size)}, ${bytes(virtualSize)} virtual`,
      figures(sides.core),
      figures(sides["qemu-img"]),
      figures(sides["qemu-img -m 2 -W"]),
      faster.toFixed(2),
      cpuShare.toFixed(2),
      mostCpu.toFixed(2),
      met ? "met" : "**not met**",
    ]),
  );
  return [
    row(columns),
    row(columns.map((_, index) => (index === 0 ? "---" : "--:"))),
    ...rows,
    `\n${provenance(record)}\n`,
  ].join("\n");
}
