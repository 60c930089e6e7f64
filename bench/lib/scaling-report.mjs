/** The tables of docs/scaling.md: measured points, and the line through them. */
import { bytes } from "../../scripts/demo/text.mjs";
import { sides } from "../sides.mjs";
import { provenance, row, seconds } from "./report.mjs";

const GiB = 2 ** 30;
const columns = ["", "wall", "CPU", "registry", "RSS of one", "RSS of all", "stored"];

/** Intercept and slope of the least-squares line through `points`, each [x, y]. */
export function lineThrough(points) {
  const mean = (index) => points.reduce((sum, point) => sum + point[index], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const slope =
    points.reduce((sum, [a, b]) => sum + (a - x) * (b - y), 0) / points.reduce((sum, [a]) => sum + (a - x) ** 2, 0);
  return { slope, intercept: y - slope * x };
}

/** What each case grows in, in GiB, and what a step of it is called. */
const growth = {
  "scaling-virtual": { x: (side) => side.virtualSize / GiB, unit: "GiB of virtual size" },
  "scaling-data": { x: (side) => side.data / GiB, unit: "GiB of data" },
  "scaling-at-once": { x: (side) => side.count, unit: "import" },
};

/** The part of docs/scaling.md that is written by the harness. */
export function scalingMarkdown(records) {
  return records
    .flatMap((record) => [
      `### ${record.title}\n`,
      row(columns),
      row(columns.map((_, index) => (index === 0 ? "---" : "--:"))),
      ...Object.entries(record.sides).map(([name, side]) => rowOf(name, side)),
      ...fitted(record),
      `\n${provenance(record)}\n`,
    ])
    .join("\n");
}

function rowOf(name, side) {
  const sizes = side.data === undefined ? "" : `: ${bytes(side.virtualSize)} virtual, ${bytes(side.data)} of data`;
  const label = `${sides[name].label}${sizes}`;
  if (side.wall === undefined) return row([label, side.absent ?? "FAILED", "", "", "", "", ""]);
  const memory = side.memory === undefined ? "" : bytes(side.memory);
  return row([
    label,
    `${seconds(side.wall)} s`,
    `${seconds(side.cpu)} s`,
    `${seconds(side.registryCpu)} s`,
    bytes(side.rss),
    memory,
    bytes(side.stored),
  ]);
}

function fitted({ name, sides: results }) {
  const measured = Object.values(results).filter((side) => side.wall !== undefined);
  if (growth[name] === undefined || measured.length < 2) return [];
  const { x, unit } = growth[name];
  const line = (figure) => {
    const { slope, intercept } = lineThrough(measured.map((side) => [x(side), figure(side)]));
    return `${intercept.toFixed(2)} s + ${slope.toFixed(3)} s`;
  };
  return [
    `\nA straight line through them, per ${unit}: wall ${line((side) => side.wall)}, CPU ` +
      `${line((side) => side.cpu)}, the registry's CPU ${line((side) => side.registryCpu)}.`,
  ];
}
