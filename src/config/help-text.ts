import type { FieldTable } from "./field.ts";

/** What --help prints: every variable with its flag and meaning. */
export function helpText(name: string, table: FieldTable): string {
  const entries = Object.values(table).map(({ env, flag, kind, description }) => {
    const dashed = flag === undefined ? "" : `, ${flag.length === 1 ? "-" : "--"}${flag}`;
    return `  ${env}${dashed}\n      ${description} (${kind.expected})\n`;
  });
  return `${name}: configured by environment variables; flags, where there are some, win over them.\n\n${entries.join("")}`;
}
