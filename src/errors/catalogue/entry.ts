/**
 * What the catalogue says of an error.
 *
 * kind `refused`: the input is at fault, trying again cannot help (exit 3).
 * kind `retry`: something on the way failed, trying again may help (exit 1).
 * kind `usage`: wrong options or configuration (exit 2).
 */
export type ErrorKind = "refused" | "retry" | "usage";

export interface ErrorEntry {
  readonly kind: ErrorKind;
  readonly status: number;
  readonly title: string;
  readonly fix: string;
}

export const refused = (status: number, title: string, fix: string): ErrorEntry => ({
  kind: "refused",
  status,
  title,
  fix,
});
export const retry = (status: number, title: string, fix: string): ErrorEntry => ({
  kind: "retry",
  status,
  title,
  fix,
});
export const usage = (title: string, fix: string): ErrorEntry => ({ kind: "usage", status: 400, title, fix });
