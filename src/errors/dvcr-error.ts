import { catalogue, isErrorCode, type ErrorCode, type ErrorEntry } from "./catalogue.ts";

/** The error every module throws: a stable code from the catalogue and one line of what happened, without secrets. */
export class DvcrError extends Error {
  readonly code: ErrorCode;
  /** What to do; the catalogue's, unless this very case has another cure, or the message says it ("" then). */
  readonly fix: string;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; fix?: string }) {
    // Some errors of Node have no text of their own.
    super(message.trim() === "" ? catalogue[code].title : message, options);
    this.fix = options?.fix ?? catalogue[code].fix;
    this.name = "DvcrError";
    this.code = code;
  }

  /** Worth another try without a change: what may pass by itself. A fault of the program is there again. */
  get mayPass(): boolean {
    return this.entry.kind === "retry" && this.code !== "E_INTERNAL";
  }

  get entry(): ErrorEntry {
    return catalogue[this.code];
  }

  /** `E_CODE: message. Fix` on one line, for terminals, response bodies and termination messages. */
  toLine(): string {
    const text = this.message.replace(/\s+/g, " ").replace(/[.\s]+$/, "");
    return `${this.code}: ${text}. ${this.fix}`.trimEnd();
  }
}

/** `error` as a DvcrError: itself, or by its `code` where that is one of ours, else E_INTERNAL with it as cause. */
export function toDvcrError(error: unknown): DvcrError {
  if (error instanceof DvcrError) return error;
  if (error instanceof Error) {
    const code = (error as { code?: unknown }).code;
    if (typeof code === "string" && isErrorCode(code)) return new DvcrError(code, error.message, { cause: error });
    if (error.name === "AbortError") return new DvcrError("E_CANCELLED", "the import was cancelled", { cause: error });
    // Some errors of Node have no text of their own, an AggregateError among them.
    return new DvcrError("E_INTERNAL", error.message.trim() || `an unexpected ${error.name}`, { cause: error });
  }
  return new DvcrError("E_INTERNAL", String(error));
}

/** Process exit code of `dvcr import` and `dvcr inspect` for an error: 1 try again, 2 usage, 3 refused. */
export function exitCode(error: DvcrError): 1 | 2 | 3 {
  return { retry: 1, usage: 2, refused: 3 }[error.entry.kind] as 1 | 2 | 3;
}
