/** `dvcr upload FILE NAME`: the resource, its bytes, and the wait until it is Ready. */
import { createReadStream } from "node:fs";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { stat } from "node:fs/promises";
import type { Logger } from "pino";
import { request } from "undici";

import { parseChecksum } from "../../config/kinds.ts";
import { isErrorCode } from "../../errors/catalogue.ts";
import { DvcrError } from "../../errors/dvcr-error.ts";
import { FailureError, networkCode, retryAfterMs } from "../../retry/failure.ts";
import { retrying } from "../../retry/retry.ts";
import type { ImageObject } from "../../service/model/image.ts";
import { imageApiVersion } from "../../service/model/image.ts";
import { showProgress } from "../progress.ts";
import { formatTable } from "../units.ts";
import { applyOne } from "./apply-command.ts";
import type { ServiceClient } from "./client.ts";
import type { UploadFlags } from "./flags.ts";
import { kindOf, pathOf } from "./kinds.ts";

export interface UploadContext {
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Between two looks at the resource. */
  readonly pause: () => Promise<void>;
}

/** Resolves to the text for stdout. @throws DvcrError: of the API, of the upload, or what the image's Ready condition tells. */
export async function upload(client: ServiceClient, file: string, name: string, flags: UploadFlags, context: UploadContext): Promise<string> {
  const size = await sizeOf(file);
  const kind = kindOf(flags.kind ?? "cvi");
  const path = pathOf(kind, flags.namespace, name);
  const checksum = checksumOf(flags.checksum);
  const manifest = {
    apiVersion: imageApiVersion,
    kind: kind.kind,
    metadata: { name, ...(kind.isNamespaced ? { namespace: flags.namespace } : {}) },
    spec: { dataSource: { type: "Upload", ...(checksum === undefined ? {} : { upload: { checksum } }) } },
  };
  await applyOne(client, manifest, { namespace: flags.namespace, forceConflicts: false });
  const waiting = await until(client, path, context, (image) => uploadUrlOf(image) !== undefined || image.status?.phase === "Ready");
  const url = uploadUrlOf(waiting);
  if (waiting.status?.phase === "Ready" || url === undefined) throw new DvcrError("E_OBJECT_EXISTS", `${name} is Ready already`);
  const hasEnded = async (): Promise<boolean> => ["Ready", "Failed"].includes((await client.json<ImageObject>(path)).status?.phase ?? "");
  const sender = new Sender(client, new URL(url, client.server), { file, size }, hasEnded, context.signal);
  const endProgress = flags.quiet ? () => undefined : showProgress(sender, process.stderr, context.logger);
  try {
    await sender.send();
  } finally {
    endProgress();
  }
  return summary(await until(client, path, context, (image) => image.status?.phase === "Ready"));
}

/** Where this client reaches the server, the upload's path is the same: the public URL may not be reachable from here. */
function uploadUrlOf({ status }: ImageObject): string | undefined {
  const given = status?.imageUploadURLs?.external ?? status?.imageUploadURLs?.inCluster;
  return given === undefined ? undefined : new URL(given).pathname;
}

async function until(client: ServiceClient, path: string, { pause }: UploadContext, isDone: (image: ImageObject) => boolean): Promise<ImageObject> {
  for (;;) {
    const image = await client.json<ImageObject>(path);
    if (isDone(image)) return image;
    if (image.status?.phase === "Failed") {
      throw new DvcrError("E_IMAGE_FAILED", image.status.conditions?.find(({ type }) => type === "Ready")?.message ?? "the image has failed");
    }
    await pause();
  }
}

/** Sends a file, going on after each cut where the server stands. */
class Sender {
  readonly #client: ServiceClient;
  readonly #url: URL;
  readonly #file: { readonly file: string; readonly size: number };
  readonly #hasEnded: () => Promise<boolean>;
  readonly #signal: AbortSignal;
  #sent = 0;

  /** `hasEnded`: whether the image takes no upload any more, one way or the other. */
  constructor(client: ServiceClient, url: URL, file: { readonly file: string; readonly size: number }, hasEnded: () => Promise<boolean>, signal: AbortSignal) {
    this.#client = client;
    this.#url = url;
    this.#file = file;
    this.#hasEnded = hasEnded;
    this.#signal = signal;
  }

  progress(): { sourceBytes: number; sourceSize: number; layerBytes: number } {
    return { sourceBytes: this.#sent, sourceSize: this.#file.size, layerBytes: 0 };
  }

  send(): Promise<void> {
    return retrying(() => this.#sendRest(), { phase: "transfer", peer: "source", signal: this.#signal });
  }

  async #sendRest(): Promise<void> {
    const { file, size } = this.#file;
    const offset = await this.#offset();
    this.#sent = offset;
    if (offset === size) return;
    // Counted on its way and not by a "data" listener, which would let the file flow before a connection takes it.
    const stream = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        this.#sent += chunk.length;
        done(null, chunk);
      },
    });
    pipeline(createReadStream(file, { start: offset, end: size - 1, highWaterMark: 1 << 20 }), stream).catch(() => undefined);
    const headers = { "content-length": String(size - offset), "content-range": `bytes ${String(offset)}-${String(size - 1)}/${String(size)}` };
    const { statusCode, headers: answered, body } = await this.#request("PUT", stream, headers);
    const text = await body.text();
    if (statusCode < 300) return;
    throw failure(statusCode, text, answered["retry-after"]);
  }

  async #offset(): Promise<number> {
    const { statusCode, headers, body } = await this.#request("HEAD");
    await body.dump();
    // A URL ends with its image's upload; right after a start of the server it may only not be known yet.
    if (statusCode === 404 && (await this.#hasEnded())) return this.#file.size;
    if (statusCode >= 300) throw failure(statusCode, "", headers["retry-after"]);
    return Number(headers["upload-offset"] ?? 0);
  }

  async #request(method: "HEAD" | "PUT", body?: NodeJS.ReadableStream & { destroy(): void }, headers: Record<string, string> = {}): Promise<Awaited<ReturnType<typeof request>>> {
    try {
      return await request(this.#url, {
        dispatcher: this.#client.dispatcher, method, headers, signal: this.#signal, headersTimeout: 0, bodyTimeout: 0,
        ...(body === undefined ? {} : { body: body as never }),
      });
    } catch (error) {
      if (this.#signal.aborted) throw this.#signal.reason;
      const code = networkCode(error) ?? "UND_ERR_SOCKET";
      throw new FailureError("E_SERVICE_UNREACHABLE", `the upload was cut (${code})`, { code }, { cause: error });
    } finally {
      body?.destroy();
    }
  }
}

/** The server's own word for it, `E_CODE: what happened. What to do`, or its status. */
function failure(status: number, text: string, retryAfter: string | string[] | undefined): DvcrError {
  const [, code = "", said] = /^(E_[A-Z_]+): (.*)$/s.exec(text.trim()) ?? [];
  const wait = typeof retryAfter === "string" ? retryAfterMs(retryAfter) : undefined;
  const known = isErrorCode(code) ? code : "E_IMAGE_FAILED";
  // Its word ends with what to do, which must not be told twice.
  const options = said === undefined ? {} : { fix: "" };
  return new FailureError(known, said ?? `the upload URL answers ${String(status)}`, { status, ...(wait === undefined ? {} : { retryAfterMs: wait }) }, options);
}

async function sizeOf(file: string): Promise<number> {
  const found = await stat(file).catch((error: unknown) => {
    throw new DvcrError("E_USAGE", `${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? ""})`);
  });
  if (!found.isFile()) throw new DvcrError("E_USAGE", `${file} is not a file`);
  if (found.size === 0) throw new DvcrError("E_EMPTY", `${file} holds no data`);
  return found.size;
}

function checksumOf(text: string | undefined): Record<string, string> | undefined {
  if (text === undefined) return undefined;
  const checksum = parseChecksum(text);
  if (checksum === undefined) throw new DvcrError("E_USAGE", `--checksum: got ${JSON.stringify(text)}, expected ALGORITHM:HEX`);
  return { [checksum.algorithm]: checksum.expected };
}

function summary({ metadata, status }: ImageObject): string {
  return formatTable([
    ["name", metadata.name],
    ["phase", status?.phase ?? ""],
    ["format", status?.format ?? ""],
    ["stored size", status?.size?.stored ?? ""],
    ["unpacked size", status?.size?.unpacked ?? ""],
    ["image", status?.target?.registryURL ?? ""],
  ]);
}
