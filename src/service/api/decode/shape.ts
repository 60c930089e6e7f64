/** What a decoded value may look like, whatever it was decoded from. */
import { isFields } from "../json.ts";
import { badRequest } from "../status.ts";
import { deepest, longestName, mostValues, nameTooLong, prototypeField, tooDeep, tooManyValues } from "./limits.ts";

/**
 * Throws 400 and 413 for a value that is deeper or larger than the limits allow, or that JSON cannot express. What a
 * YAML alias repeats counts each time, so that a few bytes cannot stand for a value that no walk over it ends.
 */
export function checkShape(value: unknown): void {
  let level: unknown[] = [value];
  let count = 0;
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > deepest) throw tooDeep();
    const next: unknown[] = [];
    for (const one of level) {
      if (typeof one === "number" && !Number.isFinite(one))
        throw badRequest("the body of the request holds a number that JSON cannot express");
      for (const item of membersOf(one)) {
        if ((count += 1) > mostValues) throw tooManyValues();
        next.push(item);
      }
    }
    level = next;
  }
}

function membersOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value as unknown[];
  if (!isFields(value)) return [];
  for (const name of Object.keys(value)) {
    if (name === "__proto__") throw prototypeField();
    if (name.length > longestName) throw nameTooLong();
  }
  return Object.values(value);
}
