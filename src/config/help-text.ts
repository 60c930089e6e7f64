import type { Field, FieldTable } from "./field.ts";

/** What --help prints: every variable with its flag and meaning. */
export function helpText(name: string, table: FieldTable): string {
  const entries = Object.values(table).map(({ env, flag, kind, description }) => {
    const dashed = flag === undefined ? "" : `, ${dashes(flag)}`;
    return `  ${env}${dashed}\n      ${description} (${kind.expected})\n`;
  });
  return (
    `${name}: configured by environment variables; flags, where there are some, win over ` +
    `them.\n\n${entries.join("")}`
  );
}

/** As helpText(), for flags alone. */
export function flagsHelp(flags: readonly Pick<Field<unknown>, "flag" | "kind" | "description">[]): string {
  return flags
    .map(({ flag, kind, description }) => `  ${dashes(flag ?? "")}\n      ${description} (${kind.expected})\n`)
    .join("");
}

const dashes = (flag: string): string => (flag.length === 1 ? `-${flag}` : `--${flag}`);
