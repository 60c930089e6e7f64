import { redactText } from "../log/redact.ts";
import type { CopyReport } from "../copy/copy-image.ts";
import type { ImportReport } from "../pipeline/import-image.ts";

/** An image that was stored: converted, or copied as it was, of which less is known. */
export type StoredReport = ImportReport | CopyReport;

/** The kubelet keeps the last 4096 bytes of the file: a longer message would be broken JSON. */
export const maxMessageBytes = 4096;

/** Longer texts are cut before anything else looks at them. */
const longestText = 64 * 1024;

/** What the controller reads; fields without a value are left out. */
export interface TerminationMessage {
  /** Bytes of the stored layer. */
  readonly "source-image-size"?: number;
  /** Bytes. */
  readonly "source-image-virtual-size"?: number;
  /** Format of what is stored. */
  readonly "source-image-format"?: string;
  /** Nanoseconds. */
  readonly duration?: number;
  /** Bytes per second. */
  readonly "average-speed"?: number;
  /** Present means failure. */
  readonly "error-message"?: string;
}

/** A non-negative integer, or nothing where there is none to tell. */
function whole(value: number): number | undefined {
  const rounded = Math.round(value);
  return Number.isSafeInteger(rounded) && rounded > 0 ? rounded : undefined;
}

function withoutEmpty(fields: Record<string, number | string | undefined>): TerminationMessage {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== ""));
}

/**
 * The message of a finished import. Of a copy only its duration: the controller takes the rest from the source's
 * status.
 */
export function successMessage(report: StoredReport): TerminationMessage {
  if (!("storedSize" in report)) return withoutEmpty({ duration: whole(report.durationSeconds * 1e9) });
  return withoutEmpty({
    "source-image-size": whole(report.storedSize),
    "source-image-virtual-size": whole(report.virtualSize),
    "source-image-format": report.format,
    duration: whole(report.durationSeconds * 1e9),
    "average-speed": whole(report.averageSpeed),
  });
}

/** `characters` with only `kept` of them, taken from both ends. */
function shortened(characters: readonly string[], kept: number): string {
  const head = Math.ceil(kept / 2);
  return `${characters.slice(0, head).join("")} … ${characters.slice(characters.length - (kept - head)).join("")}`;
}

/** The message of a failure as one line of JSON of at most 4096 bytes. */
export function errorLine(text: string, secrets: readonly string[] = []): string {
  return fittingLine(text, secrets, (line) => JSON.stringify({ "error-message": line }));
}

/** The message of a failure as one line of plain text of at most 4096 bytes. */
export function plainLine(text: string, secrets: readonly string[] = []): string {
  return fittingLine(text, secrets, (line) => line);
}

/** A text that is too long loses its middle: what failed stands at its start and why at its end. */
function fittingLine(text: string, secrets: readonly string[], encode: (line: string) => string): string {
  const bounded =
    text.length > longestText ? `${text.slice(0, longestText / 2)} … ${text.slice(-longestText / 2)}` : text;
  const clean =
    redactText(Buffer.from(bounded).toString(), secrets)
      .replace(/[\s\p{Cc}]+/gu, " ")
      .trim() || "unknown error";
  const whole = encode(clean);
  if (Buffer.byteLength(whole) <= maxMessageBytes) return whole;
  // Code points, so that no cut falls inside a UTF-8 sequence.
  const characters = Array.from(clean);
  let low = 0;
  let high = characters.length;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (Buffer.byteLength(encode(shortened(characters, middle))) <= maxMessageBytes) low = middle;
    else high = middle - 1;
  }
  return encode(shortened(characters, low));
}
