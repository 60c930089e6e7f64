import { isDeepStrictEqual } from "node:util";
import type { DvcrError } from "../../errors/dvcr-error.ts";
import type { ImageObject, ImageStatus } from "../model/image.ts";
import { labelOf } from "../model/names.ts";
import { recordEvent, type EventObject } from "./events.ts";
import { statusOf, type StatusDraft } from "./status.ts";
import type { ImageWorkDeps, WorkContext } from "./work-context.ts";

/** Writes what people see of an image: its status, and events about it. */
export class StatusWriter {
  readonly #deps: Pick<ImageWorkDeps, "store" | "log">;
  readonly #now: () => number;

  constructor(deps: Pick<ImageWorkDeps, "store" | "log" | "now">) {
    this.#deps = deps;
    this.#now = deps.now ?? Date.now;
  }

  /** Milliseconds since 1970. */
  now(): number {
    return this.#now();
  }

  /**
   * Writes the status where it differs; true when the reason of Ready is another than before, or that of another spec.
   */
  async write(image: ImageObject, draft: StatusDraft, context: WorkContext): Promise<boolean> {
    const now = this.#timestamp();
    const status = statusOf(image, draft, now);
    if (isDeepStrictEqual(status, image.status)) return false;
    const before = readyOf(image.status);
    const after = readyOf(status);
    await this.#deps.store.update<ImageObject>(context.resource, { ...image, status });
    return after?.reason !== before?.reason || after?.observedGeneration !== before?.observedGeneration;
  }

  /** Records an event about the image. Never throws: nothing depends on one. */
  async tell(
    image: ImageObject,
    type: EventObject["type"],
    reason: EventObject["reason"],
    message: string,
  ): Promise<void> {
    try {
      await recordEvent(this.#deps.store, image, { type, reason, message }, this.#timestamp());
    } catch (error) {
      this.#deps.log.warn({ err: error as DvcrError, image: labelOf(image), reason }, "an event could not be recorded");
    }
  }

  #timestamp(): string {
    return new Date(this.#now()).toISOString().replace(/\.\d+Z$/, "Z");
  }
}

const readyOf = (status: ImageStatus | undefined) => status?.conditions?.find(({ type }) => type === "Ready");
