import { isDeepStrictEqual } from "node:util";
import type { DvcrError } from "../../errors/dvcr-error.ts";
import type { Logger } from "../../log/logger.ts";
import { redactText } from "../../log/redact.ts";
import type { Executor, JobState, RunningJob } from "../executor/executor.ts";
import type { ImageName, ImagePlace } from "../images/image-place.ts";
import type { ImageObject, ImageStatus } from "../model/image.ts";
import { imageNameOf, labelOf } from "../model/names.ts";
import type { ObjectKey } from "../model/object.ts";
import type { ResourceStore } from "../store/store.ts";
import { newUploadToken, tokenPattern } from "../uploads/tokens.ts";
import { refusalOf, type AdmissionDeps, type AdmissionLimits } from "./admission.ts";
import { resolveDataSource, type CopiedImage } from "./data-source.ts";
import { recordEvent, type EventObject } from "./events.ts";
import type { ProvisioningGate } from "./gate.ts";
import type { NamespaceQuota } from "./quota.ts";
import {
  isFalse,
  isTrue,
  isUnknown,
  runningMessage,
  runningStatus,
  statusOf,
  storedStatus,
  type StatusDraft,
} from "./status.ts";

export const imageFinalizer = "virtualization.deckhouse.io/image-cleanup";

export interface UploadUrls {
  /** By the public address, where one is configured, else by the one that is listened on. */
  readonly external: string;
  readonly inCluster: string;
}

export interface ImageWorkDeps {
  readonly store: ResourceStore;
  readonly executor: Executor;
  readonly place: ImagePlace;
  readonly gate?: ProvisioningGate;
  readonly quota: NamespaceQuota;
  readonly limits: () => AdmissionLimits;
  readonly uploadUrls: (token: string) => UploadUrls;
  /** Milliseconds that an upload may take to begin. */
  readonly uploadTimeoutMs: number;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** What one step may ask of the queue. */
export interface WorkContext {
  readonly resource: "clustervirtualimages" | "virtualimages";
  /** The step has to end: a registry may be waited for, for minutes. */
  readonly signal: AbortSignal;
  again(): void;
  againAfter(milliseconds: number): void;
  /** Comes back when the object changes. */
  waitFor(key: ObjectKey): void;
  /** The image is gone, and everything of it. */
  gone(): void;
}

/** Progress is written this often at most, in milliseconds. */
const progressMs = 1000;

/** Milliseconds to the moment when the progress of all images is written: together they take one commit, and one write to each watcher. */
const untilProgress = (): number => progressMs - (performance.now() % progressMs);

interface Started {
  readonly generation: number;
  readonly copied: CopiedImage | undefined;
  /** Since when the upload waits for its client, where it does. */
  waitingSince?: number | undefined;
}

/** One step of one image towards its spec. */
export class ImageWork {
  readonly #deps: ImageWorkDeps;
  readonly #admission: AdmissionDeps;
  readonly #now: () => number;
  readonly #touch: (key: ObjectKey) => void;
  /** By uid. */
  readonly #started = new Map<string, Started>();
  /** Images found in the store since it was last asked for, by uid. */
  readonly #present = new Set<string>();

  /** `touch` has another object looked at again. */
  constructor(deps: ImageWorkDeps, touch: (key: ObjectKey) => void) {
    this.#deps = deps;
    this.#touch = touch;
    this.#admission = deps;
    this.#now = deps.now ?? Date.now;
  }

  /** Whether stored images are still there is looked up again at their next steps. */
  checkPresence(): void {
    this.#present.clear();
  }

  async step(image: ImageObject, context: WorkContext): Promise<void> {
    const { metadata, status } = image;
    if (metadata.deletionTimestamp !== undefined) {
      await this.#delete(image, context);
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
    if (status?.phase === "Ready" || status?.phase === "ImageLost") {
      await this.#checkPresence(image, context);
      return;
    }
    if (status?.phase === "Failed" && status.observedGeneration === metadata.generation) {
      await this.#forget(metadata.uid);
      return;
    }
    const job = await this.#jobOf(image, context);
    if (job !== undefined) await this.#show(image, job, context);
  }

  /** Ends and removes whatever there is of an image that is gone. */
  async cleanUp(image: ImageObject, signal: AbortSignal): Promise<void> {
    await this.#forget(image.metadata.uid);
    await this.#deps.place.remove(imageNameOf(image), signal);
    this.#present.delete(image.metadata.uid);
  }

  async #delete(image: ImageObject, context: WorkContext): Promise<void> {
    const { metadata, status } = image;
    if (metadata.finalizers?.includes(imageFinalizer) !== true) return;
    let current = image;
    if (status?.phase !== "Terminating") {
      const ended = withoutUndefined<ImageStatus>({ ...status, imageUploadURLs: undefined, downloadSpeed: undefined });
      current = await this.#deps.store.update<ImageObject>(context.resource, {
        ...image,
        status: { ...ended, phase: "Terminating" },
      });
    }
    const users = this.#copiesOf(imageNameOf(image));
    if (users.length > 0) {
      // The last of them to end has this image looked at again.
      this.#deps.log.info(
        { image: labelOf(image), users: users.map(({ job }) => job.label) },
        "deletion waits for imports that read the image",
      );
      return;
    }
    await this.cleanUp(image, context.signal);
    const finalizers = (current.metadata.finalizers ?? []).filter((one) => one !== imageFinalizer);
    await this.#deps.store.update<ImageObject>(context.resource, {
      ...current,
      metadata: { ...current.metadata, finalizers },
    });
    context.gone();
  }

  #copiesOf({ repository, tag }: ImageName): RunningJob[] {
    return this.#deps.executor.running().filter((running) => {
      const { source } = running.job;
      return (
        source.type === "copy" &&
        source.from.repository === repository &&
        source.from.tag === tag &&
        isUnderWay(running.state())
      );
    });
  }

  async #checkPresence(image: ImageObject, context: WorkContext): Promise<void> {
    const { uid } = image.metadata;
    await this.#forget(uid);
    if (this.#present.has(uid) && image.status?.phase === "Ready") return;
    const isThere = await this.#deps.place.has(imageNameOf(image), context.signal);
    if (isThere) this.#present.add(uid);
    if (isThere === (image.status?.phase === "Ready")) return;
    const { status = {} } = image;
    await this.#write(
      image,
      {
        ...withoutConditions(status),
        phase: isThere ? "Ready" : "ImageLost",
        datasource: isTrue("DatasourceReady"),
        ready: isThere
          ? isTrue("Ready")
          : isFalse("ImageLost", "the image is not in the store any more; delete the resource and make it again"),
      },
      context,
    );
    await this.#tell(
      image,
      isThere ? "Normal" : "Warning",
      isThere ? "ImageFound" : "ImageLost",
      isThere ? "The image is in the store again" : "The image is not in the store any more",
    );
  }

  /** The job of the image's present spec, started where nothing keeps it from that. */
  async #jobOf(image: ImageObject, context: WorkContext): Promise<RunningJob | undefined> {
    const { executor, store } = this.#deps;
    const { uid, generation } = image.metadata;
    const running = executor.find(uid);
    if (running?.job.generation === generation) return running;
    await this.#forget(uid);

    const refusal = await refusalOf(image, this.#admission, context.signal);
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
      const changed = await this.#write(image, { phase: "Pending", datasource, ready, ...urls }, context);
      if (changed && refusal?.reason === "QuotaExceeded")
        await this.#tell(image, "Warning", "DataSourceQuotaExceed", refusal.message);
      return undefined;
    }
    const job = executor.start({
      uid,
      generation,
      label: labelOf(image),
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

  async #show(image: ImageObject, running: RunningJob, context: WorkContext): Promise<void> {
    const { job } = running;
    const state = running.state();
    const datasource = isTrue("DatasourceReady");
    const urls = job.source.type === "upload" ? { imageUploadURLs: this.#deps.uploadUrls(job.source.token) } : {};
    const target = { target: { registryURL: this.#deps.place.urlOf(job.target) } };
    const started = this.#started.get(job.uid);
    if (started !== undefined && state.phase !== "waiting") started.waitingSince = undefined;
    switch (state.phase) {
      case "queued":
        await this.#write(
          image,
          {
            phase: "Pending",
            datasource,
            ready: isFalse("ProvisioningNotStarted", "other imports are running; this one waits for its turn"),
          },
          context,
        );
        return;
      case "waiting":
        await this.#awaitUpload(image, started, { datasource, ...urls }, context);
        return;
      case "running": {
        const draft = {
          phase: "Provisioning" as const,
          datasource,
          ready: isFalse("Provisioning", runningMessage(state)),
          ...urls,
          ...target,
          ...runningStatus(this.#published(image), state),
        };
        const began = await this.#write(image, draft, context);
        if (began) await this.#tell(image, "Normal", "DataSourceImportStarted", "The import has started");
        return;
      }
      case "stored":
        this.#present.add(job.uid);
        await this.#write(
          image,
          { ...storedStatus(state, started?.copied?.status), ...target, datasource, ready: isTrue("Ready") },
          context,
        );
        await this.#forget(job.uid);
        await this.#tell(image, "Normal", "DataSourceImportCompleted", "The image is stored");
        return;
      case "failed": {
        const isOverQuota = state.error?.code === "E_QUOTA_EXCEEDED";
        const reason = isOverQuota
          ? "QuotaExceeded"
          : job.source.type === "upload"
            ? "ProvisioningFailedTerminally"
            : "ProvisioningFailed";
        await this.#fail(
          image,
          reason,
          state.error?.toLine() ?? "",
          context,
          isOverQuota ? "DataSourceQuotaExceed" : undefined,
        );
      }
    }
  }

  /** The status where it is about this very import, so that its progress goes on from there. */
  #published({ status, metadata }: ImageObject): ImageStatus | undefined {
    return status?.phase === "Provisioning" && status.observedGeneration === metadata.generation ? status : undefined;
  }

  async #awaitUpload(
    image: ImageObject,
    started: Started | undefined,
    draft: Pick<StatusDraft, "datasource" | "imageUploadURLs">,
    context: WorkContext,
  ): Promise<void> {
    const { uploadTimeoutMs } = this.#deps;
    const since = started?.waitingSince ?? this.#now();
    if (started !== undefined) started.waitingSince = since;
    const left = since + uploadTimeoutMs - this.#now();
    if (left <= 0) {
      // The URL is dead before anybody reads that it is.
      await this.#forget(image.metadata.uid);
      await this.#fail(
        image,
        "WaitForUserUploadTimeout",
        `no upload has begun for ${Math.round(uploadTimeoutMs / 1000)} seconds; change the spec or make the resource again for a new URL`,
        context,
      );
      return;
    }
    context.againAfter(left);
    await this.#write(
      image,
      {
        phase: "WaitForUserUpload",
        ...draft,
        ready: isFalse("WaitForUserUpload", "waiting for the file; send it to status.imageUploadURLs"),
      },
      context,
    );
  }

  async #fail(
    image: ImageObject,
    reason: string,
    why: string,
    context: WorkContext,
    event: EventObject["reason"] = "DataSourceImportFailed",
  ): Promise<void> {
    const message = redactText(why);
    await this.#write(
      image,
      {
        phase: "Failed",
        datasource: isUnknown("DatasourceReady", "the import has ended"),
        ready: isFalse(reason, message),
      },
      context,
    );
    await this.#forget(image.metadata.uid);
    await this.#tell(image, "Warning", event, message);
  }

  /** Writes the status where it differs; true when the reason of Ready is another than before, or that of another spec. */
  async #write(image: ImageObject, draft: StatusDraft, context: WorkContext): Promise<boolean> {
    const now = this.#timestamp();
    const status = statusOf(image, draft, now);
    if (isDeepStrictEqual(status, image.status)) return false;
    const before = readyOf(image.status);
    const after = readyOf(status);
    await this.#deps.store.update<ImageObject>(context.resource, { ...image, status });
    return after?.reason !== before?.reason || after?.observedGeneration !== before?.observedGeneration;
  }

  /** Ends the job, with everything that is only known of it. */
  async #forget(uid: string): Promise<void> {
    await this.#deps.executor.stop(uid);
    this.#deps.quota.leave(uid);
    const copied = this.#started.get(uid)?.copied;
    this.#started.delete(uid);
    if (copied !== undefined) this.#touch(copied.key);
  }

  async #tell(
    image: ImageObject,
    type: EventObject["type"],
    reason: EventObject["reason"],
    message: string,
  ): Promise<void> {
    try {
      await recordEvent(this.#deps.store, image, { type, reason, message }, this.#timestamp());
    } catch (error) {
      // Nothing depends on an event.
      this.#deps.log.warn({ err: error as DvcrError, image: labelOf(image), reason }, "an event could not be recorded");
    }
  }

  #timestamp(): string {
    return new Date(this.#now()).toISOString().replace(/\.\d+Z$/, "Z");
  }
}

const readyOf = (status: ImageStatus | undefined) => status?.conditions?.find(({ type }) => type === "Ready");

const isUnderWay = ({ phase }: JobState): boolean => phase === "queued" || phase === "running";

export function withoutConditions({
  conditions: _conditions,
  observedGeneration: _generation,
  ...rest
}: ImageStatus): Omit<ImageStatus, "conditions" | "observedGeneration"> {
  return rest;
}

function withoutUndefined<T extends object>(fields: { readonly [Key in keyof T]?: T[Key] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}
