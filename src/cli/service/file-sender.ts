/** The bytes of `dvcr upload`: what of a file the server has, and the rest of it. */
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Logger } from "pino";
import { request } from "undici";

import { isErrorCode } from "../../errors/catalogue.ts";
import { DvcrError } from "../../errors/dvcr-error.ts";
import { FailureError, networkCode, retryAfterMs } from "../../retry/failure.ts";
import { retrying } from "../../retry/retry.ts";
import type { ImagePhase } from "../../service/model/image.ts";
import type { ServiceClient } from "./client.ts";
import type { LocalFile } from "./local-file.ts";

/** What a FileSender needs. */
export interface FileSenderOptions {
  readonly client: ServiceClient;
  readonly url: URL;
  readonly file: LocalFile;
  /** Declared; what the file's end says where it is missing. */
  readonly sourceFormat?: string | undefined;
  /** The image's phase now. */
  readonly phase: () => Promise<ImagePhase | undefined>;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Sends a file, going on after each cut where the server stands. The server keeps the identity of the file beside the
 * bytes, for as long as it keeps them: bytes that are not known to be of this file are never gone on with.
 */
export class FileSender {
  readonly #options: FileSenderOptions;
  /** Bytes of this file that are on their way or there. */
  #sent = 0;

  constructor(options: FileSenderOptions) {
    this.#options = options;
  }

  /** For showProgress(). */
  progress(): { sourceBytes: number; sourceSize: number; layerBytes: number } {
    return { sourceBytes: this.#sent, sourceSize: this.#options.file.size, layerBytes: 0 };
  }

  /** Resolves when the server has every byte, or the image has failed. @throws DvcrError. */
  send(): Promise<void> {
    const { logger, signal } = this.#options;
    return retrying(() => this.#sendRest(), {
      phase: "transfer",
      peer: "source",
      signal,
      onRetry: ({ error, delayMs }) => {
        logger.warn({ err: error, delayMs: Math.round(delayMs) }, "the upload was held up, trying again");
      },
    });
  }

  async #sendRest(): Promise<void> {
    const { file } = this.#options;
    const { size } = file;
    const offset = await this.#offset();
    this.#sent = offset;
    if (offset === size) return;
    const bytes = await file.read(offset);
    // Counted on its way and not by a "data" listener, which would let the file flow before a connection takes it.
    const stream = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        this.#sent += chunk.length;
        done(null, chunk);
      },
    });
    pipeline(bytes, stream).catch(() => undefined);
    // Without a range the server drops what it has of another file.
    const format = offset === 0 ? (this.#options.sourceFormat ?? file.format) : undefined;
    const range =
      offset === 0 ? {} : { "content-range": `bytes ${String(offset)}-${String(size - 1)}/${String(size)}` };
    const { statusCode, headers, body } = await this.#request("PUT", stream, {
      "content-length": String(size - offset),
      "dvcr-file-identity": file.identity,
      ...range,
      ...(format === undefined ? {} : { "dvcr-source-format": format }),
    });
    const text = await body.text();
    if (statusCode < 300) return;
    const refusal = failure(statusCode, text, headers["retry-after"]);
    // The server's own word: it has not taken them.
    if (refusal.isServers) this.#sent = offset;
    throw refusal.error;
  }

  /** Where to go on: the file's size where the server has all of it, or takes nothing any more. */
  async #offset(): Promise<number> {
    const { file, logger, phase } = this.#options;
    const { statusCode, headers, body } = await this.#request("HEAD");
    await body.dump();
    if (statusCode === 404) {
      // A URL ends with its image's upload; right after a start of the server it may only not be known yet.
      const ended = await phase();
      if (ended === "Ready" && this.#sent < file.size) throw othersImage("was made of");
      if (ended === "Ready" || ended === "Failed") return file.size;
    }
    if (statusCode >= 300) throw failure(statusCode, "", headers["retry-after"]).error;
    const offset = Number(headers["upload-offset"] ?? 0);
    const isComplete = headers["upload-complete"] === "?1";
    if (headers["dvcr-file-identity"] === file.identity) return isComplete ? file.size : offset;
    this.#sent = 0;
    if (isComplete) throw othersImage("is being made of");
    if (offset > 0) logger.warn({ offset }, "what the server has may be of another file: the upload starts over");
    return 0;
  }

  async #request(
    method: "HEAD" | "PUT",
    body?: NodeJS.ReadableStream & { destroy(): void },
    headers: Record<string, string> = {},
  ): Promise<Awaited<ReturnType<typeof request>>> {
    const { client, url, signal } = this.#options;
    try {
      return await request(url, {
        dispatcher: client.dispatcher,
        method,
        headers,
        signal,
        headersTimeout: 0,
        bodyTimeout: 0,
        ...(body === undefined ? {} : { body: body as never }),
      });
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const code = networkCode(error) ?? "UND_ERR_SOCKET";
      throw new FailureError("E_SERVICE_UNREACHABLE", `the upload was cut (${code})`, { code }, { cause: error });
    } finally {
      body?.destroy();
    }
  }
}

/** Somebody else sent the file, perhaps even the same one: nothing tells. */
function othersImage(what: string): DvcrError {
  return new DvcrError("E_OBJECT_EXISTS", `the image ${what} another upload, which may be of another file`);
}

/** The server's own word for it, `E_CODE: what happened. What to do`, or its status. */
function failure(
  status: number,
  text: string,
  retryAfter: string | string[] | undefined,
): { readonly error: FailureError; readonly isServers: boolean } {
  const [, code = "", said] = /^(E_[A-Z_]+): (.*)$/s.exec(text.trim()) ?? [];
  const wait = typeof retryAfter === "string" ? retryAfterMs(retryAfter) : undefined;
  const known = isErrorCode(code) ? code : "E_IMAGE_FAILED";
  // Its word ends with what to do, which must not be told twice.
  const options = said === undefined ? {} : { fix: "" };
  const error = new FailureError(
    known,
    said ?? `the upload URL answers ${String(status)}`,
    { status, ...(wait === undefined ? {} : { retryAfterMs: wait }) },
    options,
  );
  return { error, isServers: said !== undefined };
}
