/** One configuration value: its names, how its text is read, and what the reference page says of it. */
export interface Field<T> {
  readonly env: string;
  /** Long flag without the dashes, where the process has one for it. */
  readonly flag?: string;
  readonly kind: Kind<T>;
  /** Used when neither flag nor variable is set. Missing together with `required`. */
  readonly fallback: T;
  readonly required: boolean;
  /** Never echoed, not in problems either. */
  readonly secret: boolean;
  readonly description: string;
}

/** How a text becomes a value. */
export interface Kind<T> {
  /** Completes "expected …" and stands in the reference page's Type column. */
  readonly expected: string;
  /** True for switches: the flag alone means "true". */
  readonly isSwitch?: boolean;
  /** The value, or undefined when the text is not of this kind. */
  parse(text: string): T | undefined;
  /** A value as a user would write it. */
  format(value: T): string;
}

export interface FieldOptions {
  readonly flag?: string;
  readonly secret?: boolean;
  readonly description: string;
}

/** A table of fields, by the name of the property that the value becomes. */
export type FieldTable = Readonly<Record<string, Field<unknown>>>;

/** The values that a table parses to. */
export type ValuesOf<Table> = { readonly [Name in keyof Table]: Table[Name] extends Field<infer T> ? T : never };

function field<T>(env: string, kind: Kind<T>, fallback: T, required: boolean, options: FieldOptions): Field<T> {
  return Object.freeze({ env, kind, fallback, required, secret: options.secret ?? false, ...options });
}

/** A value that must be given. */
export function required<T>(env: string, kind: Kind<T>, options: FieldOptions): Field<T> {
  return field(env, kind, undefined as T, true, options);
}

/** A value that may be missing. */
export function optional<T>(env: string, kind: Kind<T>, options: FieldOptions): Field<T | undefined> {
  return field(env, kind as Kind<T | undefined>, undefined, false, options);
}

/** A value with a default. */
export function withDefault<T>(env: string, kind: Kind<T>, fallback: T, options: FieldOptions): Field<T> {
  return field(env, kind, fallback, false, options);
}
