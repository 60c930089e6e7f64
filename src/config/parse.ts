import { parseArgs } from "node:util";
import { DvcrError } from "../errors/dvcr-error.ts";
import type { Field, FieldTable, ValuesOf } from "./field.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** One thing that is wrong with the configuration, in one phrase without secrets. */
export type Problem = string;

const gotLimit = 60;

/** What the user gave, short enough for a message and never a secret. */
function quote(field: Field<unknown>, value: string): string {
  if (field.secret) return "(hidden)";
  return JSON.stringify(value.length > gotLimit ? `${value.slice(0, gotLimit)}…` : value);
}

/** Flags by name from `argv`; the table says which exist. `-v=3`, `-v 3` and `--v=3` are the flag `v`. */
function readFlags(table: FieldTable, argv: readonly string[], problems: Problem[]): Map<string, string> {
  const flags = new Map(
    Object.values(table).flatMap((field) => (field.flag === undefined ? [] : [[field.flag, field] as const])),
  );
  const { tokens } = parseArgs({
    args: [...argv],
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(
      [...flags].map(
        ([name, { kind }]) =>
          [
            name,
            { type: kind.isSwitch ? "boolean" : "string", ...(name.length === 1 ? { short: name } : {}) },
          ] as const,
      ),
    ),
  });
  const values = new Map<string, string>();
  for (const token of tokens) {
    // Not echoed: it may be the value of a mistyped secret flag.
    if (token.kind === "positional") problems.push(`argument ${token.index + 1}: got a word, expected only flags`);
    if (token.kind !== "option") continue;
    const field = flags.get(token.name);
    if (field === undefined)
      problems.push(`flag ${token.rawName.slice(0, gotLimit)}: not known, expected one of those in --help`);
    else if (token.value === undefined && !field.kind.isSwitch)
      problems.push(`flag ${token.rawName}: got no value, expected ${field.kind.expected}`);
    // parseArgs reads the short form `-v=3` as the value "=3".
    else values.set(token.name, token.value?.replace(/^=/, "") ?? "true");
  }
  return values;
}

/** The value of one field; adds to `problems` and gives the fallback when the text is wrong. Empty counts as unset. */
function readField<T>(
  field: Field<T>,
  environment: Environment,
  flags: ReadonlyMap<string, string>,
  problems: Problem[],
): T {
  const flagged = field.flag === undefined ? undefined : flags.get(field.flag);
  const name = flagged === undefined ? field.env : `--${field.flag ?? ""}`;
  const text = (flagged ?? environment[field.env] ?? "").trim();
  if (text === "") {
    if (field.required) problems.push(`${field.env}: got nothing, expected ${field.kind.expected}`);
    return field.fallback;
  }
  const value = field.kind.parse(text);
  if (value !== undefined) return value;
  problems.push(`${name}: got ${quote(field, text)}, expected ${field.kind.expected}`);
  return field.fallback;
}

/** The values of `table`, frozen. Flags win over variables. Problems are added to `problems`, in the table's order. */
export function parseFields<Table extends FieldTable>(
  table: Table,
  environment: Environment,
  argv: readonly string[],
  problems: Problem[],
): ValuesOf<Table> {
  const flags = readFlags(table, argv, problems);
  const values = Object.entries(table).map(
    ([name, field]) => [name, readField(field, environment, flags, problems)] as const,
  );
  return Object.freeze(Object.fromEntries(values)) as ValuesOf<Table>;
}

/** Throws E_CONFIG naming every problem at once. */
export function failOnProblems(problems: readonly Problem[]): void {
  if (problems.length > 0) throw new DvcrError("E_CONFIG", problems.join("; "));
}
