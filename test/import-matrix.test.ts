/**
 * Every source × every container × every format, each twice to the same tag: the disk is the original's, and the second
 * import makes the same image. What is refused by design is listed with its code.
 */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { request } from "undici";

import { OciLayoutDestination } from "../src/destination/oci.ts";
import { toDvcrError } from "../src/errors/dvcr-error.ts";
import type { ImportImage, ImportOptions, ImportReport } from "../src/pipeline/import-image.ts";
import { ImportMemory } from "../src/pipeline/import-memory.ts";
import { importingWith } from "../src/pipeline/run-import.ts";
import { uploaderProcess } from "../src/uploader/run-uploader.ts";
import { fileDigest } from "./support/disks.ts";
import {
  ImageFiles,
  imageContainers,
  imageFormats,
  type ImageContainer,
  type ImageFormat,
} from "./support/image-files.ts";
import { limits, MatrixSources, sourceKinds, type SourceKind } from "./support/matrix-sources.ts";
import { startPod } from "./support/pod.ts";
import { umociDiskDigest } from "./support/pulled.ts";
import { temporaryDirectory, tool } from "./support/tools.ts";

type Door = SourceKind | "upload";
/** A fixed VHD shows only at its end: with and without saying what it is. */
const columns = [...imageFormats, "fixed VHD, declared"] as const;
type Column = (typeof columns)[number];

const formatOf = (column: Column): ImageFormat => (column === "fixed VHD, declared" ? "fixed VHD" : column);
const reported: Readonly<Record<ImageFormat, string>> = {
  qcow2: "qcow2",
  "packed qcow2": "qcow2",
  "streamOptimized VMDK": "vmdk",
  "sparse VMDK": "vmdk",
  "fixed VHD": "vpc",
  "dynamic VHD": "vpc",
  VHDX: "vhdx",
  VDI: "vdi",
  raw: "raw",
  ISO: "iso",
};

/** What is refused on purpose; anything else must be stored. */
function refusalOf(door: Door, container: ImageContainer, column: Column): string | undefined {
  if (column !== "fixed VHD") return undefined;
  const isPlain = container === "plain" || container === "tar" || container === "ova";
  const showsItsEnd = isPlain && (door === "file" || door === "HTTP with ranges");
  return showsItsEnd ? undefined : "E_UNDECLARED_FIXED_VHD";
}

let work: Awaited<ReturnType<typeof temporaryDirectory>>;
let files: ImageFiles;
let sources: MatrixSources;
/** sha256 of the layer before it is compressed, by the file that it holds. */
const diffIds = new Map<string, string>();
const importImage = importingWith(new ImportMemory());
const layout = (): string => join(work.path, "layout");
const at = (tag: string): OciLayoutDestination => new OciLayoutDestination(layout(), tag);

function options(column: Column): ImportOptions {
  return {
    checksums: [],
    compression: "none",
    format: "raw",
    ...(column === "fixed VHD, declared" ? { sourceFormat: "vpc" } : {}),
    allowNested: false,
    manifestKind: "oci",
    limits,
    scratchDirectory: work.path,
    sourceDateEpoch: 0,
  };
}

beforeAll(async () => {
  work = await temporaryDirectory();
  files = await ImageFiles.write(work.path);
  await tool("chmod", "-R", "a+rX", work.path);
  sources = await MatrixSources.start(work.path);
  for (const format of ["raw", "ISO"] as const) {
    const source = await sources.make("file", files.name(format, "plain"));
    const { diffId } = await importImage(source, at(format), options(format), new AbortController().signal).done;
    expect(await umociDiskDigest(layout(), format, work.path)).toBe(await fileDigest(files.expected(format)));
    diffIds.set(files.expected(format), diffId);
  }
});
afterAll(async () => {
  await sources[Symbol.asyncDispose]();
  await work[Symbol.asyncDispose]();
});

type Importing = (column: Column, tag: string) => Promise<ImportReport>;

const fromSource =
  (kind: SourceKind, container: ImageContainer): Importing =>
  async (column, tag) => {
    const source = await sources.make(kind, files.name(formatOf(column), container));
    return await importImage(source, at(tag), options(column), new AbortController().signal).done;
  };

/** By PUT to the upload server, as `curl -T` sends it. */
const byUpload =
  (container: ImageContainer): Importing =>
  async (column, tag) => {
    let report: Promise<ImportReport> | undefined;
    const watched: ImportImage = (source, destination, given, signal) => {
      const running = importImage(source, destination, { ...options(column), ...given, sourceDateEpoch: 0 }, signal);
      report = running.done;
      return running;
    };
    const parts = { importImage: watched, openDestination: () => at(tag) };
    const environment = {
      LISTEN_ADDRESS: "127.0.0.1",
      LISTEN_PORT: "0",
      HEALTHZ_PORT: "0",
      UPLOADER_DESTINATION_ENDPOINT: "registry.example.com/disk:1",
      DVCR_LAYER_COMPRESSION: "none",
    };
    const pod = await startPod(
      (env, surroundings) => uploaderProcess([], env, () => Promise.resolve(parts), surroundings),
      environment,
      ["upload"],
    );
    try {
      const path = files.path(formatOf(column), container);
      const answer = await request(`http://127.0.0.1:${String(pod.ports["upload"])}/upload`, {
        method: "PUT",
        body: createReadStream(path),
        headers: {
          "content-length": String((await stat(path)).size),
          ...(column === "fixed VHD, declared" ? { "dvcr-source-format": "vpc" } : {}),
        },
      });
      const text = await answer.body.text();
      if (report === undefined) throw new Error(`no import began: ${String(answer.statusCode)} ${text}`);
      const stored = await report;
      expect(answer.statusCode, text).toBe(200);
      return stored;
    } finally {
      await pod.dispose();
    }
  };

/** The format, where both imports made the right image of it; else what went wrong. */
async function outcome(column: Column, tag: string, importing: Importing): Promise<string> {
  try {
    const [first, second] = [await importing(column, tag), await importing(column, tag)];
    const isRight = first.diffId === diffIds.get(files.expected(formatOf(column)));
    if (!isRight) return `another disk, as ${first.sourceFormat}`;
    return first.manifestDigest === second.manifestDigest ? first.sourceFormat : "another image the second time";
  } catch (error) {
    const { code, message } = toDvcrError(error);
    return code === "E_INTERNAL" ? message : code;
  }
}

describe.each<Door>([...sourceKinds, "upload"])("from %s", (door) => {
  it.each(imageContainers)("%s", async (container) => {
    const importing = door === "upload" ? byUpload(container) : fromSource(door, container);
    const outcomes: [Column, string][] = [];
    for (const column of columns) {
      const tag = `${door}-${container}-${column}`.replace(/\W+/g, "-");
      outcomes.push([column, await outcome(column, tag, importing)]);
    }
    const expected = columns.map((column) => [
      column,
      refusalOf(door, container, column) ?? reported[formatOf(column)],
    ]);
    expect(Object.fromEntries(outcomes)).toEqual(Object.fromEntries(expected));
  });
});
