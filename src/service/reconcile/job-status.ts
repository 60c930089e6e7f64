import { redactText } from "../../log/redact.ts";
import type { JobState, RunningJob } from "../executor/executor.ts";
import type { ImageObject, ImageStatus } from "../model/image.ts";
import type { CopiedImage } from "./data-source.ts";
import type { EventObject } from "./events.ts";
import type { Presence } from "./presence.ts";
import type { StatusWriter } from "./status-writer.ts";
import {
  isFalse,
  isTrue,
  isUnknown,
  runningMessage,
  runningStatus,
  storedStatus,
  turnMessage,
  waitingMessage,
  type StatusDraft,
} from "./status.ts";
import type { ImageWorkDeps, WorkContext } from "./work-context.ts";

/** What is known of a job besides what the executor tells. */
export interface Started {
  readonly generation: number;
  readonly copied: CopiedImage | undefined;
  /** Since when the upload waits for its client, where it does. */
  waitingSince?: number | undefined;
}

/** Shows in an image's status how its job stands, and ends what has ended. */
export class JobStatus {
  readonly #deps: Pick<ImageWorkDeps, "place" | "uploadUrls" | "uploadTimeoutMs">;
  readonly #writer: StatusWriter;
  readonly #presence: Presence;
  readonly #forget: (uid: string) => Promise<void>;

  /** `forget` ends a job, with everything that is only known of it. */
  constructor(
    deps: Pick<ImageWorkDeps, "place" | "uploadUrls" | "uploadTimeoutMs">,
    writer: StatusWriter,
    presence: Presence,
    forget: (uid: string) => Promise<void>,
  ) {
    this.#deps = deps;
    this.#writer = writer;
    this.#presence = presence;
    this.#forget = forget;
  }

  /** One look at the job. */
  async show(
    image: ImageObject,
    running: RunningJob,
    started: Started | undefined,
    context: WorkContext,
  ): Promise<void> {
    const { job } = running;
    const state = running.state();
    const datasource = isTrue("DatasourceReady");
    const urls = job.source.type === "upload" ? { imageUploadURLs: this.#deps.uploadUrls(job.source.token) } : {};
    const target = { target: { registryURL: this.#deps.place.urlOf(job.target) } };
    if (started !== undefined && state.phase !== "waiting") started.waitingSince = undefined;
    switch (state.phase) {
      case "queued":
        await this.#writer.write(
          image,
          {
            phase: "Pending",
            datasource,
            ready: isFalse("ProvisioningNotStarted", turnMessage),
          },
          context,
        );
        return;
      case "waiting":
        await this.#awaitUpload(image, started, { datasource, ...urls }, state, context);
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
        const began = await this.#writer.write(image, draft, context);
        if (began) await this.#writer.tell(image, "Normal", "DataSourceImportStarted", "The import has started");
        return;
      }
      case "stored":
        this.#presence.note(job.uid);
        await this.#writer.write(
          image,
          { ...storedStatus(state, started?.copied?.status), ...target, datasource, ready: isTrue("Ready") },
          context,
        );
        await this.#forget(job.uid);
        await this.#writer.tell(image, "Normal", "DataSourceImportCompleted", "The image is stored");
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
    state: JobState,
    context: WorkContext,
  ): Promise<void> {
    const { uploadTimeoutMs } = this.#deps;
    const since = started?.waitingSince ?? this.#writer.now();
    if (started !== undefined) started.waitingSince = since;
    const left = since + uploadTimeoutMs - this.#writer.now();
    if (left <= 0) {
      // The URL is dead before anybody reads that it is.
      await this.#forget(image.metadata.uid);
      await this.#fail(
        image,
        "WaitForUserUploadTimeout",
        `no upload has begun for ${Math.round(uploadTimeoutMs / 1000)} seconds; change the spec or ` +
          "make the resource again for a new URL",
        context,
      );
      return;
    }
    context.againAfter(left);
    await this.#writer.write(
      image,
      {
        phase: "WaitForUserUpload",
        ...draft,
        ready: isFalse("WaitForUserUpload", waitingMessage(state)),
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
    await this.#writer.write(
      image,
      {
        phase: "Failed",
        datasource: isUnknown("DatasourceReady", "the import has ended"),
        ready: isFalse(reason, message),
      },
      context,
    );
    await this.#forget(image.metadata.uid);
    await this.#writer.tell(image, "Warning", event, message);
  }
}
