/**
 * One pass over JSON text before it is parsed: holds it to the limits, so that nothing is built that would be refused,
 * and finds members that stand in one object twice, which a parser drops silently. What is not JSON is left for the
 * parser to refuse.
 */
import {
  deepest,
  longestName,
  mostNamed,
  mostValues,
  nameTooLong,
  prototypeField,
  tooDeep,
  tooManyValues,
} from "./limits.ts";

interface Frame {
  /** Names seen so far; undefined in a list. */
  readonly names: Set<string> | undefined;
  /** The next string is a member's name. */
  isNameNext: boolean;
  /** The member or item that is being read. */
  name: string;
  index: number;
}

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const [openList, closeList] = [0x5b, 0x5d];
const [openObject, closeObject] = [0x7b, 0x7d];

/** Paths of repeated members, as `spec.dataSource.type`, each once and the first hundred only. Throws 400 and 413. */
export function scanJson(text: string): string[] {
  const frames: Frame[] = [];
  const repeated = new Set<string>();
  let values = 0;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    const frame = frames.at(-1);
    if (code === quote) {
      const end = endOfString(text, i + 1);
      if (frame?.isNameNext === true) addName(frame, text.slice(i, end + 1), frames, repeated);
      i = end;
    } else if (code === comma) {
      values += 1;
      if (frame?.names !== undefined) frame.isNameNext = true;
      else if (frame !== undefined) frame.index += 1;
    } else if (code === colon) {
      if (frame !== undefined) frame.isNameNext = false;
    } else if (code === openObject || code === openList) {
      values += 1;
      if (frames.length >= deepest) throw tooDeep();
      const names = code === openObject ? new Set<string>() : undefined;
      frames.push({ names, isNameNext: names !== undefined, name: "", index: 0 });
    } else if (code === closeObject || code === closeList) frames.pop();
    if (values > mostValues) throw tooManyValues();
  }
  return [...repeated];
}

/** Where the string that begins before `from` ends; the text's end where nothing closes it. */
function endOfString(text: string, from: number): number {
  for (let end = text.indexOf('"', from); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (end - 1 - backslashes >= from && text[end - 1 - backslashes] === "\\") backslashes += 1;
    if (backslashes % 2 === 0) return end;
  }
  return text.length;
}

function addName(frame: Frame, quoted: string, frames: readonly Frame[], repeated: Set<string>): void {
  const name = unquoted(quoted);
  if (name.length > longestName) throw nameTooLong();
  if (name === "__proto__") throw prototypeField();
  frame.name = name;
  frame.isNameNext = false;
  if (frame.names!.has(name) && repeated.size < mostNamed) repeated.add(pathOf(frames));
  frame.names!.add(name);
}

function unquoted(text: string): string {
  if (!text.includes("\\")) return text.slice(1, -1);
  try {
    return JSON.parse(text) as string;
  } catch {
    return text;
  }
}

const pathOf = (frames: readonly Frame[]): string =>
  frames.reduce(
    (path, { names, name, index }) =>
      names === undefined ? `${path}[${String(index)}]` : path === "" ? name : `${path}.${name}`,
    "",
  );
