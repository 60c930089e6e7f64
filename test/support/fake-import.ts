import { createHash } from "node:crypto";
import type { Destination } from "../../src/destination/destination.ts";
import { DvcrError, toDvcrError } from "../../src/errors/dvcr-error.ts";
import type { ImportImage, ImportOptions, ImportReport } from "../../src/pipeline/import-image.ts";
import type { Source } from "../../src/source/source.ts";

export const sampleReport: ImportReport = {
  image: "docker://dvcr.d8-virtualization.svc/cvi/disk:0a1b",
  manifestDigest: `sha256:${"1".repeat(64)}`,
  layerDigest: `sha256:${"2".repeat(64)}`,
  diffId: `sha256:${"3".repeat(64)}`,
  sourceFormat: "qcow2",
  format: "raw",
  sourceSize: 614_465_536,
  virtualSize: 4_294_967_296,
  storedSize: 614_465_536,
  durationSeconds: 4.200000001,
  averageSpeed: 146_301_317.6,
  checksums: {},
  scratchPeak: 0,
  sizeFrom: "header",
  layerPushed: true,
  restarts: 0,
  warnings: [],
};

/** What a fake import saw, and when it may go on or must fail. */
export interface FakeImport {
  readonly importImage: ImportImage;
  readonly seen: { options?: ImportOptions; bytes: number; sha256?: string; imports: number };
}

export interface FakeBehaviour {
  /** Fails once so many source bytes came, or at the end. */
  readonly failAt?: { readonly bytes: number; readonly error: DvcrError };
  /** Called for every import; what it gives is waited for before the first byte is read. */
  readonly before?: (attempt: number) => Promise<void>;
}

/** Reads the source to its end as an import would, hashes it, and reports made-up results. */
export function fakeImport(behaviour: FakeBehaviour = {}): FakeImport {
  const seen: FakeImport["seen"] = { bytes: 0, imports: 0 };
  const run = async (
    source: Source,
    options: ImportOptions,
    signal: AbortSignal,
    onSize: (size: number | undefined) => void,
  ): Promise<ImportReport> => {
    seen.imports += 1;
    seen.options = options;
    seen.bytes = 0;
    await behaviour.before?.(seen.imports);
    signal.throwIfAborted();
    const opened = await source.open(signal);
    onSize(opened.size);
    const hash = createHash("sha256");
    try {
      for await (const chunk of opened.chunks ?? []) {
        hash.update(chunk);
        seen.bytes += chunk.length;
        if (behaviour.failAt !== undefined && seen.bytes >= behaviour.failAt.bytes) throw behaviour.failAt.error;
      }
      seen.sha256 = hash.digest("hex");
      for (const { algorithm, expected } of options.checksums) {
        if (algorithm === "sha256" && expected !== seen.sha256) {
          throw new DvcrError("E_CHECKSUM_MISMATCH", `sha256 sum mismatch: ${expected} != ${seen.sha256}`);
        }
      }
      return { ...sampleReport, sourceSize: seen.bytes };
    } catch (error) {
      throw toDvcrError(error);
    } finally {
      await opened.close();
    }
  };
  return {
    seen,
    importImage: (source, _destination, options, signal) => {
      let sourceSize: number | undefined;
      return {
        progress: () => ({
          sourceBytes: seen.bytes,
          layerBytes: 0,
          ...(sourceSize === undefined ? {} : { sourceSize }),
        }),
        done: run(source, options, signal, (size) => {
          sourceSize = size;
        }),
      };
    },
  };
}

/** A destination that nothing is written to. */
export function fakeDestination(): Destination {
  const unused = (): Promise<never> => Promise.reject(new DvcrError("E_INTERNAL", "not used"));
  return {
    reference: sampleReport.image,
    current: () => Promise.resolve(undefined),
    beginLayer: unused,
    commitImage: unused,
    close: () => Promise.resolve(),
  };
}
