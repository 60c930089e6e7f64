/** What one registry takes and tells, found out with a few bytes that are removed again. */
import { randomBytes } from "node:crypto";
import { sha256Digest } from "../layer/image-config.ts";
import { toDvcrError, type DvcrError } from "../errors/dvcr-error.ts";
import { confirmBlob, mountBlob, removeBlob } from "./blobs.ts";
import type { RegistryClient } from "./client.ts";
import { statManifest } from "./manifests.ts";
import { discard, header } from "./transport.ts";
import { pushScopes, BlobUploadSession } from "./blob-upload-session.ts";

export interface Finding {
  readonly check: "reachable" | "credentials" | "clock" | "push" | "session" | "parts" | "limits" | "mount" | "removal";
  /** `note`: a push works all the same. */
  readonly result: "ok" | "note" | "failed";
  readonly detail: string;
  /** Of `failed`. */
  readonly code?: string;
}

/** More than nginx takes where nobody tells it otherwise, and more than GHCR takes in a part. */
const limitBytes = 5 << 20;
const cleanUpMs = 10_000;
/** Tokens and certificates stop working somewhere beyond. */
const mostSkewSeconds = 60;

/**
 * Probes `repository` as an import would use it. Ends with the first finding that makes a push impossible; never throws
 * but for a cancellation.
 */
export async function* probeRegistry(
  client: RegistryClient,
  repository: string,
  signal: AbortSignal,
): AsyncGenerator<Finding> {
  const probe = new Probe(client, repository, signal);
  for (const step of [
    () => probe.reach(),
    () => probe.access(),
    () => probe.push(),
    () => probe.parts(),
    () => probe.limits(),
    () => probe.mount(),
    () => probe.remove(),
  ]) {
    for (const finding of await step()) {
      yield finding;
      if (finding.result === "failed") return;
    }
  }
}

class Probe {
  readonly #client: RegistryClient;
  readonly #repository: string;
  readonly #signal: AbortSignal;
  readonly #content = randomBytes(32);
  readonly #digest = sha256Digest(this.#content);

  constructor(client: RegistryClient, repository: string, signal: AbortSignal) {
    this.#client = client;
    this.#repository = repository;
    this.#signal = signal;
  }

  async reach(): Promise<Finding[]> {
    const began = performance.now();
    try {
      const spec = {
        method: "GET",
        target: "/v2/",
        scopes: pushScopes(this.#repository),
        ok: [200, 401, 403, 404],
      } as const;
      const response = await this.#client.sendOnce(spec, this.#signal);
      await discard(response);
      const took = Math.round(performance.now() - began);
      const where = `${response.url.origin}, ${String(took)} ms, credentials: ${this.#client.challenge}`;
      return [{ check: "reachable", result: "ok", detail: where }, clockFinding(header(response.headers, "date"))];
    } catch (error) {
      return [this.#failed("reachable", error)];
    }
  }

  async access(): Promise<Finding[]> {
    try {
      await statManifest(this.#client, this.#repository, "dvcr-doctor", this.#signal);
      return [
        {
          check: "credentials",
          result: "ok",
          detail: `scope ${this.#client.scopes(this.#repository).join(" ")} may read`,
        },
      ];
    } catch (error) {
      return [this.#failed("credentials", error)];
    }
  }

  /** The way in which layers are sent first, a look at the open session, and whether what was stored can be seen. */
  async push(): Promise<Finding[]> {
    let session: BlobUploadSession | undefined;
    try {
      session = await BlobUploadSession.startOnce(this.#client, this.#repository, this.#signal);
      await session.stream(
        () => oneByOne([this.#content]),
        () => this.#content.length,
        this.#signal,
      );
      const told = await session.position(this.#signal);
      await session.put(this.#digest, this.#content.length, this.#signal);
      const blob = { digest: this.#digest, size: this.#content.length };
      const notice = await confirmBlob(this.#client, this.#repository, blob, this.#signal);
      const tells = told === this.#content.length;
      return [
        { check: "push", result: "ok", detail: "one PATCH without Content-Range is taken and stored" },
        ...(notice === undefined ? [] : [{ check: "push", result: "note", detail: notice } as const]),
        {
          check: "session",
          result: tells ? "ok" : "note",
          detail: tells
            ? "the registry tells what a session holds"
            : `the registry does not tell what a session holds (${String(told)}): after a fault a push begins again`,
        },
      ];
    } catch (error) {
      await this.#cancel(session);
      return [this.#failed("push", error)];
    }
  }

  /** Whether a session takes a second PATCH, which idle sources and limits of proxies call for. */
  async parts(): Promise<Finding[]> {
    const half = this.#content.length / 2;
    return this.#withSession("parts", async (session) => {
      await session.chunk(0, half, () => this.#content.subarray(0, half), this.#signal);
      await session.chunk(half, half, () => this.#content.subarray(half), this.#signal);
      const least = session.leastPatch > 0 ? `, of ${String(session.leastPatch)} bytes at least` : "";
      return `PATCHes with Content-Range are taken${least}`;
    });
  }

  async limits(): Promise<Finding[]> {
    const content = new Uint8Array(limitBytes);
    return this.#withSession("limits", async (session) => {
      await session.chunk(0, limitBytes, () => content, this.#signal);
      return "5 MiB in one request are taken";
    });
  }

  async mount(): Promise<Finding[]> {
    try {
      const mounted = await mountBlob(this.#client, this.#repository, this.#digest, this.#repository, this.#signal);
      const detail = mounted ? "blobs are mounted across repositories" : "blobs are not mounted: dvcr copy sends them";
      return [{ check: "mount", result: mounted ? "ok" : "note", detail }];
    } catch (error) {
      return [this.#noted("mount", error)];
    }
  }

  async remove(): Promise<Finding[]> {
    const removed = await removeBlob(this.#client, this.#repository, this.#digest);
    const detail = removed
      ? "the probe's blob is removed"
      : `the probe's blob of ${String(this.#content.length)} bytes stays until the registry's ` +
        `garbage collection: ${this.#digest}`;
    return [{ check: "removal", result: removed ? "ok" : "note", detail }];
  }

  /** `work` in a session that is dropped; its failure is a note. */
  async #withSession(
    check: "parts" | "limits",
    work: (session: BlobUploadSession) => Promise<string>,
  ): Promise<Finding[]> {
    let session: BlobUploadSession | undefined;
    try {
      session = await BlobUploadSession.startOnce(this.#client, this.#repository, this.#signal);
      return [{ check, result: "ok", detail: await work(session) }];
    } catch (error) {
      return [this.#noted(check, error)];
    } finally {
      await this.#cancel(session);
    }
  }

  async #cancel(session: BlobUploadSession | undefined): Promise<void> {
    await session?.cancel(AbortSignal.timeout(cleanUpMs)).catch(() => undefined);
  }

  #failed(check: Finding["check"], error: unknown): Finding {
    const { code, message } = this.#known(error);
    return { check, result: "failed", detail: message, code };
  }

  #noted(check: Finding["check"], error: unknown): Finding {
    return { check, result: "note", detail: this.#known(error).message };
  }

  #known(error: unknown): DvcrError {
    const known = toDvcrError(error);
    if (known.code === "E_CANCELLED") throw known;
    return known;
  }
}

function clockFinding(date: string | undefined): Finding {
  const there = Date.parse(date ?? "");
  if (Number.isNaN(there)) return { check: "clock", result: "note", detail: "the registry does not tell its time" };
  const skew = Math.round((Date.now() - there) / 1000);
  const detail = `${String(Math.abs(skew))} s ${skew < 0 ? "behind" : "ahead of"} the registry's`;
  return { check: "clock", result: Math.abs(skew) > mostSkewSeconds ? "note" : "ok", detail };
}

// eslint-disable-next-line @typescript-eslint/require-await -- undici streams async iterables only
async function* oneByOne(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}
