/** Results as text: the table of one case, and the tables of docs/benchmarks.md. */
import { bytes } from "../../scripts/demo/text.mjs";
import { generalTargets } from "../cases.mjs";
import { sides } from "../sides.mjs";
import { profileText } from "./profile.mjs";

export const seconds = (value) => (value < 9.995 ? value.toFixed(2) : value.toFixed(1));
const figure = (value, unit) =>
  unit === "s" ? `${seconds(value)} s` : value < 0 ? `-${bytes(-value)}` : bytes(Math.round(value));

/** Judges the targets of a case; those whose sides did not run are left open. */
export function judge(one, results) {
  const m = Object.fromEntries(Object.entries(results).filter(([, result]) => result.wall !== undefined));
  const hand = Object.keys(m)
    .filter((name) => sides[name].group === "hand")
    .sort((a, b) => m[a].wall - m[b].wall)[0];
  if (hand !== undefined) m.hand = m[hand];
  return [...one.targets, ...generalTargets(one)].map((target) => {
    const missing = target.needs.filter((name) => m[name] === undefined);
    if (missing.length > 0) return { text: target.text, open: `not measured: ${missing.join(", ")}` };
    const [value, limit] = [target.value(m), target.limit(m)];
    return { text: target.text, unit: target.unit, value, limit, pass: value <= limit };
  });
}

const columns = [
  "side",
  "wall",
  "fastest–slowest",
  "CPU",
  "registry",
  "RSS",
  "network",
  "scratch",
  "stored",
  "ours is",
];

/** One row per side. "ours is": our wall time as a share of the side's. */
function rowsOf(record) {
  const ours = Object.entries(record.sides).find(
    ([name, side]) => sides[name]?.role === "ours" && side.wall !== undefined,
  )?.[1];
  return Object.entries(record.sides).map(([name, side]) => {
    const label = sides[name]?.label ?? name;
    if (side.wall === undefined)
      return [label, side.absent === undefined ? "FAILED" : "absent", side.absent ?? side.failed.split("\n")[0]];
    const share = ours === undefined || side === ours ? "" : `${(ours.wall / side.wall).toFixed(2)}×`;
    const spread = side.rounds === 1 ? "1 run" : `${seconds(side.fastest)}–${seconds(side.slowest)}`;
    const stored = side.stored === undefined ? "" : bytes(side.stored);
    return [
      label,
      `${seconds(side.wall)} s`,
      spread,
      seconds(side.cpu),
      seconds(side.registryCpu),
      bytes(side.rss),
      bytes(side.network),
      bytes(side.scratch),
      stored,
      share,
    ];
  });
}

/** The result of one case for a terminal. */
export function caseText(record) {
  const rows = [columns, ...rowsOf(record)];
  const widths = columns.map((_, column) =>
    Math.max(...rows.filter((row) => row.length > 3).map((row) => row[column].length)),
  );
  const padded = (row, cell, column) => {
    if (column === 0) return cell.padEnd(widths[0]);
    return row.length > 3 ? cell.padStart(widths[column]) : cell;
  };
  const lines = rows.map((row) => `  ${row.map((cell, column) => padded(row, cell, column)).join("  ")}`);
  return [
    `\n${titleOf(record)}`,
    ...lines,
    ...record.targets.map((target) => `  ${verdict(target)}  ${targetText(target)}`),
    ...profileLines(record),
  ].join("\n");
}

const titleOf = ({ title, input }) =>
  `${title}: ${bytes(input.size)}${input.virtualSize === undefined ? "" : `, ${bytes(input.virtualSize)} virtual`}`;
const verdict = (target) => (target.open === undefined ? (target.pass ? "met " : "NOT MET") : "open");
const profileLines = ({ sides: results }) =>
  Object.values(results)
    .filter(({ profile }) => profile !== undefined)
    .map(({ profile, threads }) => `  CPU time by stage:\n${profileText(profile)}\n  by thread: ${threads.join(", ")}`);
const targetText = (target) =>
  target.open === undefined
    ? `${target.text}: ${figure(target.value, target.unit)} of ${figure(target.limit, target.unit)}`
    : `${target.text} (${target.open})`;

export const row = (cells) => `| ${cells.join(" | ")} |`;

/** When, of which commit and on what a result was measured, in one line. */
export const provenance = ({ date, commit, machine, versions }) =>
  `${date} · commit ${commit} · ${machine.cpu} · ${machine.cores} cores · ${machine.system} · Node ${versions.node}`;

/** The part of docs/benchmarks.md that is written by the harness. */
export function markdown(records) {
  const all = records.flatMap((record) => record.targets.map((target) => ({ record, ...target })));
  const targets = all.map((target) => {
    const share = target.open === undefined && target.limit > 0 ? `${(target.value / target.limit).toFixed(2)}` : "";
    const [measured, limit] =
      target.open === undefined
        ? [figure(target.value, target.unit), figure(target.limit, target.unit)]
        : [target.open, ""];
    return row([
      target.record.name,
      target.text,
      measured,
      limit,
      share,
      target.open === undefined ? (target.pass ? "met" : "**not met**") : "open",
    ]);
  });
  return [
    "## Targets\n",
    row(["case", "target", "measured", "limit", "measured / limit", ""]),
    row(["---", "---", "--:", "--:", "--:", "---"]),
    ...targets,
    "\n## Cases\n",
    ...records.flatMap((record) => [
      `### ${record.name}: ${titleOf(record)}\n`,
      row(columns),
      row(columns.map((_, index) => (index === 0 ? "---" : "--:"))),
      ...rowsOf(record).map((cells) => row([...cells, ...Array(columns.length - cells.length).fill("")])),
      ...stagesOf(record),
      `\n${provenance(record)}\n`,
    ]),
  ].join("\n");
}

function stagesOf({ sides: results }) {
  const profile = Object.values(results).find((side) => side.profile !== undefined)?.profile;
  return profile === undefined
    ? []
    : [`\nWhere our CPU time goes: ${profile.map(({ name, percent }) => `${name} ${percent} %`).join(", ")}.`];
}
