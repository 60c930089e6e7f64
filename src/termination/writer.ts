import { writeFileSync } from "node:fs";
import type { DvcrError } from "../errors/dvcr-error.ts";
import type { Logger } from "../log/logger.ts";
import { terminationText } from "./error-text.ts";
import { errorLine, successMessage, type StoredReport } from "./message.ts";

export interface TerminationOptions {
  readonly path: string;
  /** Where the image was to go; names the registry in a message that it is full. */
  readonly destination: string;
  readonly secrets: readonly string[];
  readonly log: Logger;
}

/** Writes the result of the process for the controller. Never throws: true tells that the message is in place. */
export class TerminationWriter {
  readonly #options: TerminationOptions;

  constructor(options: TerminationOptions) {
    this.#options = options;
  }

  success(report: StoredReport): boolean {
    return this.#write(() => JSON.stringify(successMessage(report)));
  }

  failure(error: DvcrError): boolean {
    return this.#write(() => errorLine(terminationText(error, this.#options.destination), this.#options.secrets));
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
