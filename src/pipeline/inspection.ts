/** Jobs that read a source's first bytes, say what it is, and store nothing. */
import { toDvcrError } from "../errors/dvcr-error.ts";
import type { LayerListing } from "../layer/container-layer.ts";
import { addon, type NativeEvent, type NativeImage } from "../native/addon.ts";
import type { OpenSource } from "../source/source.ts";
import { answerRange, nativeError, sourceOptions } from "./conversion.ts";
import { Feed } from "./feed.ts";
import type { ImportLimits } from "./import-image.ts";
import { inspectionMemory } from "./import-memory.ts";

export interface InspectionOptions {
  readonly limits: ImportLimits;
  readonly declaredFormat?: string;
  readonly scratchDirectory: string;
}

/** What `source` is, reading no more of it than its headers. Throws DvcrError. */
export function inspectSource(source: OpenSource, options: InspectionOptions): Promise<NativeImage> {
  return inspection(source, options, "inspect", (event) => (event.type === "inspected" ? event.image : undefined));
}

/** What the container layer `source` says of disk/, reading as far as the first file there. Throws DvcrError. */
export function listLayer(source: OpenSource, limits: ImportLimits): Promise<LayerListing> {
  return inspection(source, { limits, scratchDirectory: "" }, "list", (event) =>
    event.type === "layer" ? event : undefined,
  );
}

/** Runs a job until `pick` takes one of its events. */
async function inspection<T>(
  source: OpenSource,
  options: InspectionOptions,
  name: "inspect" | "list",
  pick: (event: NativeEvent) => T | undefined,
): Promise<T> {
  return await new Promise((resolve, reject) => {
    let failure: unknown;
    const fail = (error: unknown) => {
      failure ??= error;
      job.cancel();
    };
    const onEvent = (event: NativeEvent) => {
      const picked = pick(event);
      if (picked !== undefined)
        end(() => {
          resolve(picked);
        });
      else if (event.type === "released") feed.released(event.batch);
      else if (event.type === "failed")
        end(() => {
          reject(toDvcrError(failure ?? nativeError(event.code, event.message, source)));
        });
      else if (event.type === "range") answerRange(job, source, event, fail);
    };
    const job = new addon.Job(
      {
        ...sourceOptions(source),
        declaredFormat: options.declaredFormat ?? "",
        limits: options.limits,
        scratchDirectory: options.scratchDirectory,
        mode: { name },
      },
      onEvent,
    );
    const feed = new Feed(job, inspectionMemory);
    const end = (settle: () => void) => {
      feed.close();
      settle();
    };
    if (source.chunks) feed.run(source.chunks).catch(fail);
  });
}
