/** Lists that are sent as they are read: a client that takes nothing of its answer holds one page of it in memory. */
import { Readable } from "node:stream";

import type { ApiRequest } from "./context.ts";
import { encodeYaml } from "./decode/yaml.ts";
import { without, type Fields } from "./json.ts";
import { shaped } from "./table/table.ts";

/**
 * The text of a list: `first` is its beginning in the form that is wanted, `list` the same as objects, `more` the items
 * after those. Where these can no longer be read, the connection is cut, so that nobody takes a part for the whole.
 */
export function longAnswer(
  request: ApiRequest,
  first: Fields,
  list: Fields,
  more: AsyncIterable<readonly Fields[]>,
): Readable {
  const member = "rows" in first ? "rows" : "items";
  const entriesOf = (items: readonly Fields[]): Fields[] => shaped(request, { ...list, items })[member] as Fields[];
  const head = without(first, member);
  const parts = request.wanted.yaml ? yamlParts : jsonParts;
  return Readable.from(parts(head, member, first[member] as Fields[], mapped(more, entriesOf)), {
    objectMode: false,
    highWaterMark: 0,
  });
}

async function* mapped(
  pages: AsyncIterable<readonly Fields[]>,
  entriesOf: (items: readonly Fields[]) => Fields[],
): AsyncGenerator<Fields[]> {
  for await (const items of pages) yield entriesOf(items);
}

type Parts = (
  head: Fields,
  member: string,
  first: readonly Fields[],
  more: AsyncIterable<readonly Fields[]>,
) => AsyncGenerator<string>;

const jsonParts: Parts = async function* (head, member, first, more) {
  const text = (entries: readonly Fields[]): string => entries.map((entry) => JSON.stringify(entry)).join(",");
  yield `${JSON.stringify(head).slice(0, -1)},${JSON.stringify(member)}:[${text(first)}`;
  let isEmpty = first.length === 0;
  for await (const entries of more) {
    if (entries.length === 0) continue;
    yield `${isEmpty ? "" : ","}${text(entries)}`;
    isEmpty = false;
  }
  yield "]}\n";
};

const yamlParts: Parts = async function* (head, member, first, more) {
  yield `${encodeYaml(head)}${member}:\n${first.length === 0 ? "" : encodeYaml(first)}`;
  let isEmpty = first.length === 0;
  for await (const entries of more) {
    if (entries.length === 0) continue;
    yield encodeYaml(entries);
    isEmpty = false;
  }
  if (isEmpty) yield "  []\n";
};
