import type { Checksum } from "../config/kinds.ts";
import { DvcrError, toDvcrError } from "../errors/dvcr-error.ts";
import type { ImportReport } from "../pipeline/import-image.ts";
import type { Source } from "../source/source.ts";
import type { SourceFormat } from "./source-format.ts";
import { ByteQueue } from "./byte-queue.ts";
import type { HeldBytes } from "./upload-memory.ts";
import { UploadSource } from "./upload-source.ts";

/** What an upload's first request says of it. */
export interface UploadPlan {
  /** Bytes of the whole file, where they are known already. */
  readonly total: number | undefined;
  /** Over the whole file, as it is sent. */
  readonly checksums: readonly Checksum[];
  readonly isFramedSnappy: boolean;
  /** Declared; content of another format is refused. */
  readonly sourceFormat?: SourceFormat | undefined;
  /** Names an upload by tus. */
  readonly id?: string;
  /** The client's own word for which file it sends. */
  readonly fileIdentity?: string | undefined;
}

export interface UploadLimits {
  /** Bytes that the file may have. */
  readonly most?: number | undefined;
  /** As for ByteQueue. */
  readonly sipInterval?: number | undefined;
  /** Where what it holds is counted. */
  readonly memory?: HeldBytes | undefined;
}

/** Only the images service limits what is sent. */
export const sizeFix = "Pack the file, or raise maxUploadSize in the configuration of the images service.";

/** Throws E_TOO_LARGE for a file of more bytes than may be sent. */
function checkLimit(bytes: number, most: number): void {
  if (bytes > most)
    throw new DvcrError("E_TOO_LARGE", `the file has ${bytes} bytes or more; at most ${most} may be sent`, {
      fix: sizeFix,
    });
}

/** Runs one import to its report. */
export type StartImport = (
  source: Source,
  declared: Pick<UploadPlan, "checksums" | "sourceFormat">,
  signal: AbortSignal,
) => Promise<ImportReport>;

/** One file on its way in: the running import, how far it was fed, and nothing of HTTP. */
export class Upload {
  readonly plan: UploadPlan;
  readonly #start: StartImport;
  readonly #most: number;
  readonly #queue: ByteQueue;
  readonly #stopped = new AbortController();
  #total: number | undefined;
  #fileIdentity: string | undefined;
  #offset = 0;
  #isWhole = false;
  #result: Promise<ImportReport> | undefined;

  /** Throws E_TOO_LARGE where the file is said to have more bytes than it may. */
  constructor(plan: UploadPlan, start: StartImport, { most = Infinity, sipInterval, memory }: UploadLimits = {}) {
    checkLimit(plan.total ?? 0, most);
    this.#most = most;
    this.#queue = new ByteQueue(sipInterval, memory);
    this.plan = plan;
    this.#total = plan.total;
    this.#fileIdentity = plan.fileIdentity;
    this.#start = start;
  }

  /** Bytes accepted: they are in the import or queued for it, and need never be sent again. */
  get offset(): number {
    return this.#offset;
  }

  get total(): number | undefined {
    return this.#total;
  }

  /** True when every byte is in. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** True after it was cancelled. */
  get isCancelled(): boolean {
    return this.#stopped.signal.aborted;
  }

  /** Starts the import at the first call; settles with it. A failure that nobody waits for is no unhandled one. */
  result(): Promise<ImportReport> {
    this.#result ??= this.#start(
      new UploadSource(this.#queue, { size: this.#total, isFramedSnappy: this.plan.isFramedSnappy }),
      this.plan,
      this.#stopped.signal,
    );
    this.#result.catch(() => undefined);
    return this.#result;
  }

  /** The total is known only now. Throws E_UPLOAD_OFFSET when it is another than before, or less than what came. */
  declareTotal(total: number): void {
    if (total < this.#offset || (this.#total !== undefined && total !== this.#total)) {
      const before = this.#total === undefined ? `${this.#offset} have come already` : `it was ${this.#total} before`;
      throw new DvcrError("E_UPLOAD_OFFSET", `the file is said to have ${total} bytes, but ${before}`);
    }
    checkLimit(total, this.#most);
    this.#total = total;
  }

  /** The file that every byte so far was said to be of, by its client's word for it. */
  get fileIdentity(): string | undefined {
    return this.#fileIdentity;
  }

  /**
   * More bytes come, of the file that their client calls `identity`. Throws E_UPLOAD_OFFSET when those before are not
   * known to be of it. A client that does not tell may go on with any file, so that none is known from then on.
   */
  continueAs(identity: string | undefined): void {
    if (identity !== undefined && identity !== this.#fileIdentity) {
      throw new DvcrError("E_UPLOAD_OFFSET", "what has arrived is not known to be of this file", {
        fix: "Send the whole file, without Content-Range.",
      });
    }
    this.#fileIdentity = identity;
  }

  /** Throws E_BAD_REQUEST when `end` lies beyond the end of the file. */
  checkEnd(end: number): void {
    if (this.#total === undefined || end <= this.#total) return;
    throw new DvcrError("E_BAD_REQUEST", `the body goes to ${end} bytes, beyond the file's ${this.#total}`);
  }

  /** Resolves when take() may be called. */
  async room(): Promise<void> {
    await this.#queue.room();
  }

  /**
   * Accepts the next bytes of the file. Throws E_BAD_REQUEST for bytes beyond its end, E_TOO_LARGE beyond the limit.
   */
  take(chunk: Uint8Array): void {
    this.checkEnd(this.#offset + chunk.byteLength);
    try {
      checkLimit(this.#offset + chunk.byteLength, this.#most);
    } catch (error) {
      // Going on cannot mend it: the import is over too.
      this.refuse(toDvcrError(error));
      throw error;
    }
    this.#offset += chunk.byteLength;
    this.#queue.push(chunk);
  }

  /** Takes a little more than the import asks for, so that what has arrived can be told from silence. */
  stretch(): void {
    this.#queue.stretch(2 ** 22);
  }

  /** Every byte is in. */
  end(): void {
    this.#total = this.#offset;
    this.#isWhole = true;
    this.#queue.end();
  }

  /** The bytes are wrong: the import fails with `error`. */
  refuse(error: DvcrError): void {
    this.#queue.fail(error);
  }

  /** Ends the import, waiting until nothing of it remains. Never throws. */
  async cancel(reason: DvcrError): Promise<void> {
    this.#stopped.abort(reason);
    this.#queue.fail(reason);
    await this.#result?.catch(() => undefined);
  }
}
