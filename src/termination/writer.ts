import { writeFileSync } from "node:fs";
import type { DvcrError } from "../errors/dvcr-error.ts";
import type { Logger } from "../log/logger.ts";
import { terminationText } from "./error-text.ts";
import { errorLine, successMessage, type StoredReport } from "./message.ts";

/** How a process words its result: each text at most 4096 bytes. */
export interface ResultForm<Report> {
  success(report: Report): string;
  failure(error: DvcrError, facts: Pick<TerminationOptions<Report>, "destination" | "secrets">): string;
}

/** What the controller reads of an import. */
export const importResult: ResultForm<StoredReport> = {
  success: (report) => JSON.stringify(successMessage(report)),
  failure: (error, { destination, secrets }) => errorLine(terminationText(error, destination), secrets),
};

export interface TerminationOptions<Report> {
  readonly path: string;
  readonly form: ResultForm<Report>;
  /** Where the image was to go; names the registry in a message that it is full. */
  readonly destination: string;
  readonly secrets: readonly string[];
  readonly log: Logger;
}

/** Writes the result of the process. Never throws: true tells that the message is in place. */
export class TerminationWriter<Report> {
  readonly #options: TerminationOptions<Report>;

  constructor(options: TerminationOptions<Report>) {
    this.#options = options;
  }

  success(report: Report): boolean {
    return this.#write(() => this.#options.form.success(report));
  }

  failure(error: DvcrError): boolean {
    return this.#write(() => this.#options.form.failure(error, this.#options));
  }

  // In place and not by a rename: the kubelet mounts the file itself.
  #write(line: () => string): boolean {
    try {
      writeFileSync(this.#options.path, line());
      return true;
    } catch (error) {
      this.#options.log.error(
        { err: error, path: this.#options.path },
        "the termination message could not be written; DVCR_TERMINATION_LOG names another file",
      );
      return false;
    }
  }
}
