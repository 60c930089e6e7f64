/** A Markdown table as the reference pages have them. Cells are taken as they are. */
export function markdownTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |\n`;
  return line(headings) + `${"| --- ".repeat(headings.length)}|\n` + rows.map(line).join("");
}
