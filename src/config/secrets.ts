import type { FieldTable, ValuesOf } from "./field.ts";

/** The texts that no log, answer or message may show. */
export function secretsOf<Table extends FieldTable>(table: Table, values: ValuesOf<Table>): string[] {
  return Object.entries(table).flatMap(([name, { secret }]) => {
    const value: unknown = (values as Record<string, unknown>)[name];
    return secret && typeof value === "string" ? [value] : [];
  });
}
