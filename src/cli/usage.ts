import type { Command, Option } from "commander";

import { DvcrError } from "../errors/dvcr-error.ts";

/** What is wrong with a command line, gathered so that all of it is told at once. */
export class UsageProblems {
  readonly #found: string[] = [];

  add(problem: string): void {
    this.#found.push(problem);
  }

  /** What `make` gives; a DvcrError of it that is about usage is gathered and nothing is given. */
  attempt<T>(make: () => T): T | undefined {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof DvcrError) || error.entry.kind !== "usage") throw error;
      this.add(error.message);
      return undefined;
    }
  }

  /** Throws E_USAGE with every problem. */
  throwIfAny(): void {
    if (this.#found.length > 0) throw new DvcrError("E_USAGE", this.#found.join("; "));
  }

  /** An option whose value is parsed by `parse`; what that gives nothing for is gathered and `fallback` stands in. */
  parsed<T>(option: Option, expected: string, parse: (value: string, before: T) => T | undefined, fallback: T): Option {
    return option.argParser((value: string, before: T): T => {
      const parsed = parse(value, before);
      if (parsed !== undefined) return parsed;
      this.add(`${option.long ?? option.flags}: got ${JSON.stringify(value)}, expected ${expected}`);
      return before ?? fallback;
    });
  }

  /** An option with a fixed set of values. */
  choice(option: Option, values: readonly string[]): Option {
    const known = (value: string) => (values.includes(value) ? value : undefined);
    return this.parsed<string | undefined>(option.choices(values), values.join(", "), known, undefined);
  }
}

/**
 * Lets `command` take any options and arguments, so that operandsOf() can tell what is wrong with all of them. A name
 * that ends in "?" may be left out.
 */
export function withOperands(command: Command, names: readonly string[]): Command {
  for (const name of names) command.argument(`[${name}]`);
  const usage = names.map((name) => (name.endsWith("?") ? `[${name.slice(0, -1)}]` : `<${name}>`));
  return command
    .allowUnknownOption()
    .allowExcessArguments()
    .usage(["[options]", ...usage].join(" "));
}

/** The arguments of a command made by withOperands(), in order; those missing are empty and gathered as problems. */
export function operandsOf(command: Command, problems: UsageProblems): string[] {
  const names = command.registeredArguments.map((argument) => argument.name());
  const isOption = (text: string) => text.length > 1 && text.startsWith("-");
  for (const option of command.args.filter(isOption)) problems.add(`${option.split("=")[0]!}: unknown option`);
  const operands = command.args.filter((text) => !isOption(text));
  for (const extra of operands.slice(names.length)) problems.add(`${JSON.stringify(extra)}: one argument too many`);
  return names.map((name, index) => {
    const operand = operands[index];
    if (operand === undefined && !name.endsWith("?")) problems.add(`the ${name} is missing`);
    return operand ?? "";
  });
}
