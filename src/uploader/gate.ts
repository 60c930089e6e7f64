import { DvcrError } from "../errors/dvcr-error.ts";
import type { ImportReport } from "../pipeline/import-image.ts";
import type { Outcome } from "../process/outcome.ts";

/** Lets one upload in at a time, and none after the verdict. */
export class UploadGate {
  #state: "open" | "busy" | "closed" = "open";
  readonly #onVerdict: (verdict: Outcome) => void;

  /** `onVerdict` is called once, before the client is answered: an image is stored, or what was sent can never become one. */
  constructor(onVerdict: (verdict: Outcome) => void) {
    this.#onVerdict = onVerdict;
  }

  /** Throws E_BUSY or E_UPLOAD_DONE. */
  enter(): void {
    if (this.#state === "busy") throw new DvcrError("E_BUSY", "another upload is running");
    if (this.#state === "closed") throw new DvcrError("E_UPLOAD_DONE", "the upload has ended already");
    this.#state = "busy";
  }

  stored(report: ImportReport): void {
    this.#close({ kind: "stored", report });
  }

  /**
   * An upload failed. What may go better the next time, and what is wrong with the request rather than with the image,
   * opens the gate again; everything else is the verdict. True when it was the verdict.
   */
  failed(error: DvcrError): boolean {
    const isVerdict = error.entry.kind !== "retry" && error.code !== "E_BAD_REQUEST";
    if (isVerdict) this.#close({ kind: "failed", error });
    else this.#state = "open";
    return isVerdict;
  }

  #close(verdict: Outcome): void {
    this.#state = "closed";
    this.#onVerdict(verdict);
  }
}
