import { DvcrError } from "../../errors/dvcr-error.ts";
import { FailureError } from "../../retry/failure.ts";
import { unknownCodings } from "./content-coding.ts";
import { entityOf, parseContentRange, sameEntity, type Entity } from "./entity.ts";
import { describe, HttpClient, type HttpAnswer, type HttpClientOptions, type TimeLimits } from "./request.ts";

/** By these some servers refuse a range as such, whatever it is. */
const RANGE_REFUSED = new Set([400, 403, 416, 501]);

/** An answer to go on with; its first `known` bytes have been delivered already. */
export interface Continuation {
  readonly answer: HttpAnswer;
  readonly known: number;
}

/** The file behind a URL: single requests for it, and whether an answer is of the file that was opened. */
export class RemoteFile {
  readonly description: string;
  readonly #url: URL;
  readonly #client: HttpClient;
  readonly #onNotice: (text: string) => void;
  #resolved: URL;
  #entity: Entity = { ranges: false, partial: false };

  constructor(url: URL, options: HttpClientOptions & { readonly onNotice: (text: string) => void }) {
    this.#url = url;
    this.#resolved = url;
    this.description = describe(url);
    this.#client = new HttpClient(url.origin, options);
    this.#onNotice = options.onNotice;
  }

  get url(): URL {
    return this.#url;
  }

  /** Where the answers come from, after redirects; for messages. */
  get sentBy(): string {
    return describe(this.#resolved);
  }

  /** Whole size in bytes, where the server told. */
  get size(): number | undefined {
    return this.#entity.size;
  }

  get hasValidator(): boolean {
    return this.#entity.validator !== undefined;
  }

  /** Size and a validator are known and the server gives ranges, or says so. */
  get offersRanges(): boolean {
    return this.#entity.ranges && this.hasValidator && this.size !== undefined;
  }

  /**
   * The first GET, which tells everything: HEAD is refused by presigned URLs and by some servers. It carries no Range,
   * which web firewalls refuse where it begins with 0.
   */
  async open(signal: AbortSignal): Promise<HttpAnswer> {
    const answer = await this.#get(this.#url, {}, signal);
    if (answer.status === 206 && promisedRange(answer)?.first !== 0) {
      drop(answer);
      throw new DvcrError("E_SOURCE_HTTP", `${this.description} answers with a range although none was asked for`);
    }
    this.#entity = entityOf(answer.status, answer.headers);
    this.#notePeculiarities(answer);
    return answer;
  }

  /** An answer of the same file, from `offset` or, where the server gives no ranges, from its start again. */
  async continueAt(offset: number, signal: AbortSignal): Promise<Continuation> {
    const answer = await this.#getRange(`bytes=${offset}-`, signal).catch(async (error: unknown) => {
      if (!isRangeRefusal(error)) throw error;
      return await this.#getAgain({}, signal);
    });
    if (answer.status === 206 && promisedRange(answer)?.first === offset && this.#isSame(answer))
      return { answer, known: 0 };
    if (answer.status === 200 && this.#isSame(answer)) return { answer, known: offset };
    throw this.#changed(answer, `after ${offset} bytes had been read`);
  }

  /**
   * The answer to `bytes=FIRST-LAST`, which may be shorter than asked for.
   *
   * @throws DvcrError E_SOURCE_CHANGED for anything else than a range of this file from `first` on.
   */
  async range(first: number, last: number, signal: AbortSignal, limits?: TimeLimits): Promise<HttpAnswer> {
    const answer = await this.#getRange(`bytes=${first}-${last}`, signal, limits);
    const range = promisedRange(answer);
    if (range?.first === first && range.last <= last && this.#isSame(answer)) return answer;
    throw this.#changed(answer, "while it was read");
  }

  async #getRange(range: string, signal: AbortSignal, limits?: TimeLimits): Promise<HttpAnswer> {
    const { validator } = this.#entity;
    const condition = validator === undefined ? {} : { "if-range": validator };
    return await this.#getAgain({ range, ...condition }, signal, limits);
  }

  /** From where the first answer came; when that address has expired, from the URL itself again. */
  async #getAgain(
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    limits?: TimeLimits,
  ): Promise<HttpAnswer> {
    try {
      return await this.#get(this.#resolved, headers, signal, limits);
    } catch (error) {
      if (this.#resolved === this.#url || !(error instanceof FailureError)) throw error;
      this.#resolved = this.#url;
      // A refusal comes from an address that has expired; a fault is waited out first.
      if (error.failure.status === undefined) throw error;
      return await this.#get(this.#url, headers, signal, limits);
    }
  }

  async #get(
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    limits?: TimeLimits,
  ): Promise<HttpAnswer> {
    const answer = await this.#client.get(url, headers, signal, limits);
    this.#resolved = answer.url;
    return answer;
  }

  #isSame(answer: HttpAnswer): boolean {
    return sameEntity(this.#entity, entityOf(answer.status, answer.headers));
  }

  #changed(answer: HttpAnswer, when: string): DvcrError {
    drop(answer);
    return new DvcrError("E_SOURCE_CHANGED", `${this.description} changed ${when}`);
  }

  /** What a server believes to send is a help to people, nothing to go by. */
  #notePeculiarities(answer: HttpAnswer): void {
    const from = describe(answer.url);
    let unknown: readonly string[];
    try {
      unknown = unknownCodings(answer.headers, from);
    } catch (error) {
      drop(answer);
      throw error;
    }
    for (const coding of unknown)
      this.#onNotice(
        `${from} names content encoding ${JSON.stringify(coding)}, which HTTP does not know; ` +
          "ignored, the bytes are taken as they come",
      );
    const type = answer.headers["content-type"]?.split(";")[0]?.trim().toLowerCase() ?? "";
    if (/^text\/|^application\/(?:json|xml|xhtml\+xml)$/.test(type))
      this.#onNotice(`${from} is said to be ${type}, which no disk image is`);
  }
}

/** What a 206 says that it holds. */
export function promisedRange(answer: HttpAnswer) {
  return answer.status === 206 ? parseContentRange(answer.headers["content-range"]) : undefined;
}

/** Ends an answer that is not read further; its connection is closed. */
export function drop({ body }: HttpAnswer): void {
  body.on("error", () => undefined).destroy();
}

function isRangeRefusal(error: unknown): boolean {
  return error instanceof FailureError && error.failure.status !== undefined && RANGE_REFUSED.has(error.failure.status);
}
