import type { RunningJob } from "../executor/executor.ts";
import type { ImageObject } from "../model/image.ts";
import { imageNameOf, labelOf } from "../model/names.ts";
import type { ObjectKey } from "../model/object.ts";
import { newUploadToken, tokenPattern } from "../uploads/tokens.ts";
import { refusalOf } from "./admission.ts";
import { resolveDataSource } from "./data-source.ts";
import { ImageRemoval } from "./image-removal.ts";
import { JobStatus, type Started } from "./job-status.ts";
import { Presence } from "./presence.ts";
import { StatusWriter } from "./status-writer.ts";
import { isFalse, isTrue } from "./status.ts";
import { imageFinalizer, type ImageWorkDeps, type WorkContext } from "./work-context.ts";

/** Progress is written this often at most, in milliseconds. */
const progressMs = 1000;

/**
 * Milliseconds to the moment when the progress of all images is written: together they take one commit, and one write
 * to each watcher.
 */
const untilProgress = (): number => progressMs - (performance.now() % progressMs);

/** One step of one image towards its spec. */
export class ImageWork {
  readonly #deps: ImageWorkDeps;
  readonly #touch: (key: ObjectKey) => void;
  readonly #writer: StatusWriter;
  readonly #presence: Presence;
  readonly #removal: ImageRemoval;
  readonly #jobStatus: JobStatus;
  /** By uid. */
  readonly #started = new Map<string, Started>();

  /** `touch` has another object looked at again. */
  constructor(deps: ImageWorkDeps, touch: (key: ObjectKey) => void) {
    this.#deps = deps;
    this.#touch = touch;
    this.#writer = new StatusWriter(deps);
    this.#presence = new Presence(deps.place, this.#writer);
    this.#removal = new ImageRemoval(deps, (image, signal) => this.cleanUp(image, signal));
    this.#jobStatus = new JobStatus(deps, this.#writer, this.#presence, (uid) => this.#forget(uid));
  }

  /** Whether stored images are still there is looked up again at their next steps. */
  checkPresence(): void {
    this.#presence.forgetAll();
  }

  async step(image: ImageObject, context: WorkContext): Promise<void> {
    const { metadata, status } = image;
    if (metadata.deletionTimestamp !== undefined) {
      await this.#removal.step(image, context);
      return;
    }
    if (metadata.finalizers?.includes(imageFinalizer) !== true) {
      const held = {
        ...image,
        metadata: { ...metadata, finalizers: [...(metadata.finalizers ?? []), imageFinalizer] },
      };
      await this.step(await this.#deps.store.update<ImageObject>(context.resource, held), context);
      return;
    }
    // A stored image whose phase somebody has written over goes the same way.
    if (status?.phase === "Ready" || status?.phase === "ImageLost" || this.#presence.isKnown(metadata.uid)) {
      await this.#forget(metadata.uid);
      await this.#presence.check(image, context);
      return;
    }
    if (status?.phase === "Failed" && status.observedGeneration === metadata.generation) {
      await this.#forget(metadata.uid);
      return;
    }
    const job = await this.#jobOf(image, context);
    if (job !== undefined) await this.#jobStatus.show(image, job, this.#started.get(metadata.uid), context);
  }

  /** Ends and removes whatever there is of an image that is gone. */
  async cleanUp(image: ImageObject, signal: AbortSignal): Promise<void> {
    await this.#forget(image.metadata.uid);
    await this.#deps.place.remove(imageNameOf(image), signal);
    this.#presence.forget(image.metadata.uid);
  }

  /** The job of the image's present spec, started where nothing keeps it from that. */
  async #jobOf(image: ImageObject, context: WorkContext): Promise<RunningJob | undefined> {
    const { executor, store } = this.#deps;
    const { uid, generation } = image.metadata;
    const running = executor.find(uid);
    if (running?.job.generation === generation) return running;
    await this.#forget(uid);

    const refusal = await refusalOf(image, this.#deps, context.signal);
    // Last, so that nothing lies between finding the source and starting.
    const resolved = await resolveDataSource(image, store, () => this.#tokenOf(image));
    const datasource = "source" in resolved ? isTrue("DatasourceReady") : isFalse(resolved.reason, resolved.message);
    if (refusal !== undefined || !("source" in resolved)) {
      this.#deps.quota.leave(uid);
      if (refusal?.again !== undefined) context.againAfter(refusal.again);
      if (!("source" in resolved) && resolved.waitsFor !== undefined) context.waitFor(resolved.waitsFor);
      const ready =
        refusal === undefined
          ? isFalse("DatasourceNotReady", "message" in resolved ? resolved.message : "")
          : isFalse(refusal.reason, refusal.message);
      // The URL that a client has outlives the wait.
      const given = image.status?.imageUploadURLs;
      const urls =
        given !== undefined && "source" in resolved && resolved.source.type === "upload"
          ? { imageUploadURLs: this.#deps.uploadUrls(resolved.source.token) }
          : {};
      const changed = await this.#writer.write(image, { phase: "Pending", datasource, ready, ...urls }, context);
      if (changed && refusal?.reason === "QuotaExceeded")
        await this.#writer.tell(image, "Warning", "DataSourceQuotaExceed", refusal.message);
      return undefined;
    }
    const job = executor.start({
      uid,
      generation,
      label: labelOf(image),
      namespace: image.metadata.namespace ?? "",
      target: imageNameOf(image),
      source: resolved.source,
      checksums: resolved.checksums,
    });
    this.#started.set(uid, { generation, copied: resolved.copied });
    let phase = job.state().phase;
    job.onChange(() => {
      const changed = job.state().phase !== phase;
      phase = job.state().phase;
      if (changed) context.again();
      else context.againAfter(untilProgress());
    });
    return job;
  }

  /** The token of the upload URL that the status shows already, so that it outlives this process. */
  #tokenOf(image: ImageObject): string {
    const token = image.status?.imageUploadURLs?.inCluster?.split("/").at(-1) ?? "";
    return tokenPattern.test(token) ? token : newUploadToken();
  }

  /** Ends the job, with everything that is only known of it. */
  async #forget(uid: string): Promise<void> {
    await this.#deps.executor.stop(uid);
    this.#deps.quota.leave(uid);
    const copied = this.#started.get(uid)?.copied;
    this.#started.delete(uid);
    if (copied !== undefined) this.#touch(copied.key);
  }
}
