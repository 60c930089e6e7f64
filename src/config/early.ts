import type { ValuesOf } from "./field.ts";
import { parseFields, type Environment } from "./parse.ts";
import { earlyFields } from "./shared-fields.ts";

export type EarlySettings = ValuesOf<typeof earlyFields>;

/**
 * The few values without which nothing could be reported: where the metrics and the result go. Wrong ones fall back to
 * their defaults here; the strict parse that follows reports them.
 */
export function readEarly(environment: Environment): EarlySettings {
  return parseFields(earlyFields, environment, [], []);
}
