/** The server's tables (meta.k8s.io/v1 Table) on a terminal. */

export interface Table {
  /** Empty in a watch after its first event. */
  readonly columnDefinitions: readonly { readonly name: string; readonly priority?: number }[];
  readonly rows: readonly Row[] | null;
}

export interface Row {
  readonly cells: readonly unknown[];
  readonly object?: { readonly metadata?: { readonly name?: string; readonly namespace?: string } };
}

export const tableAccept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/** Prints tables whose columns keep the width of the widest cell so far, as a watch goes on. */
export class TablePrinter {
  readonly #isWide: boolean;
  readonly #withNamespace: boolean;
  #columns: Table["columnDefinitions"] = [];
  #widths: number[] = [];
  #hasHeader = false;

  constructor(options: { readonly isWide: boolean; readonly withNamespace: boolean }) {
    this.#isWide = options.isWide;
    this.#withNamespace = options.withNamespace;
  }

  /** Lines for `table`, with the header before the very first; nothing for no rows. */
  lines({ columnDefinitions, rows }: Table): string {
    if (columnDefinitions.length > 0) this.#columns = columnDefinitions;
    const found = rows ?? [];
    if (found.length === 0) return "";
    const shown = this.#columns.flatMap(({ priority = 0 }, index) => (this.#isWide || priority === 0 ? [index] : []));
    const first = (text: string): string[] => (this.#withNamespace ? [text] : []);
    const header = [...first("NAMESPACE"), ...shown.map((index) => this.#columns[index]!.name.toUpperCase())];
    const body = found.map(({ cells, object }) => [
      ...first(object?.metadata?.namespace ?? ""),
      ...shown.map((index) => cellText(cells[index])),
    ]);
    const lines = this.#hasHeader ? body : [header, ...body];
    this.#hasHeader = true;
    for (const cells of lines)
      this.#widths = cells.map((cell, index) => Math.max(this.#widths[index] ?? 0, cell.length));
    return lines
      .map(
        (cells) =>
          `${cells
            .map((cell, index) => cell.padEnd(this.#widths[index]!))
            .join("   ")
            .trimEnd()}\n`,
      )
      .join("");
  }
}

function cellText(cell: unknown): string {
  if (cell === null || cell === undefined) return "";
  return typeof cell === "string" ? cell : JSON.stringify(cell);
}
