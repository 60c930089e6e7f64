/** One upload from this browser: sends, pauses, and goes on by itself after a lost connection. */
import { signal } from "@preact/signals";

import { backoffMs, pause } from "../api/backoff.ts";
import { ApiError, toApiError } from "../api/problem.ts";
import { formatOf } from "./format.ts";
import { askStanding, send } from "./wire.ts";

export type UploadState = "sending" | "paused" | "waiting" | "finishing" | "stored" | "failed";

/** Seconds over which the speed is averaged. */
const speedWindow = 5;

export class FileUpload {
  readonly file: File;
  readonly state = signal<UploadState>("sending");
  /** Bytes of the file that are on their way or there. */
  readonly sent = signal(0);
  /** Bytes per second; undefined until it can be told. */
  readonly speed = signal<number | undefined>(undefined);
  /** Why it waits or failed. */
  readonly error = signal<ApiError | undefined>(undefined);
  readonly #path: string;
  #fresh: boolean;
  #stop = new AbortController();

  /** `fresh`: drops what was begun before, instead of going on where the server stands. */
  constructor(path: string, file: File, fresh: boolean) {
    this.#path = path;
    this.file = file;
    this.#fresh = fresh;
    void this.#run(this.#stop.signal);
  }

  /** True while bytes of the file may still have to be sent from here. */
  get isActive(): boolean {
    return ["sending", "paused", "waiting"].includes(this.state.value);
  }

  pause(): void {
    if (!this.isActive) return;
    this.#stop.abort();
    this.speed.value = undefined;
    this.state.value = "paused";
  }

  /** Goes on after a pause or a failure; `anew` drops what the server has. */
  resume(anew = false): void {
    if (this.state.value !== "paused" && this.state.value !== "failed") return;
    this.#stop = new AbortController();
    this.#fresh ||= anew;
    this.error.value = undefined;
    this.state.value = "sending";
    void this.#run(this.#stop.signal);
  }

  /** Ends it from this side; the server keeps what it has. */
  cancel(): void {
    this.#stop.abort();
  }

  async #run(stop: AbortSignal): Promise<void> {
    const isOver = (): boolean => stop.aborted;
    for (let failures = 0; !isOver();) {
      const before = this.sent.peek();
      try {
        if (await this.#step(stop)) return;
        failures = 0;
      } catch (thrown) {
        if (isOver()) return;
        const error = toApiError(thrown);
        this.speed.value = undefined;
        this.error.value = error;
        // 409: the server stands elsewhere than we thought; HEAD tells where.
        if (!error.mayPass && error.status !== 409) {
          this.state.value = "failed";
          return;
        }
        failures = this.sent.peek() > before ? 1 : failures + 1;
        this.state.value = "waiting";
        await pause(backoffMs(failures, error.retryAfterMs), stop);
      }
    }
  }

  /** Asks and sends once; true when the upload has ended. */
  async #step(stop: AbortSignal): Promise<boolean> {
    const { state, offset, total, refusal } = await askStanding(this.#path, stop);
    if (state === "stored") return this.#end("stored");
    if (state === "refused") throw new ApiError(refusal ?? "The server refused the upload", 422);
    if (state === "importing" || (state !== "idle" && offset === this.file.size && !this.#fresh)) {
      this.sent.value = this.file.size;
      this.state.value = "finishing";
      await pause(backoffMs(1), stop);
      return false;
    }
    if (total !== undefined && total !== this.file.size && !this.#fresh) {
      throw new ApiError(`The server holds the beginning of another file (${total} bytes)`, 412);
    }
    const from = this.#fresh || state === "idle" ? 0 : offset;
    this.sent.value = from;
    const meter = new SpeedMeter(from);
    const onProgress = (sent: number): void => {
      // The first byte is on its way, so what was begun before is dropped: from now on this file is gone on with.
      this.#fresh = false;
      this.error.value = undefined;
      this.sent.value = sent;
      this.speed.value = meter.at(sent);
      this.state.value = sent < this.file.size ? "sending" : "finishing";
    };
    this.state.value = "sending";
    const format = await formatOf(this.file);
    await send(this.#path, { file: this.file, format, offset: from, fresh: this.#fresh, onProgress, signal: stop });
    return this.#end("stored");
  }

  #end(state: UploadState): true {
    this.sent.value = this.file.size;
    this.error.value = undefined;
    this.speed.value = undefined;
    this.state.value = state;
    return true;
  }
}

/** Speed over the last few seconds, from the count of bytes sent. */
class SpeedMeter {
  #points: { at: number; sent: number }[];

  constructor(sent: number) {
    this.#points = [{ at: performance.now(), sent }];
  }

  /** Bytes per second, once there is a second to tell from. */
  at(sent: number): number | undefined {
    const now = performance.now();
    this.#points.push({ at: now, sent });
    while (this.#points.length > 2 && now - this.#points[1]!.at > speedWindow * 1000) this.#points.shift();
    const first = this.#points[0]!;
    const seconds = (now - first.at) / 1000;
    return seconds < 1 ? undefined : (sent - first.sent) / seconds;
  }
}
