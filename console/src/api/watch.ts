/** A live collection of objects: list, then watch, for as long as somebody looks at it. */
import { signal, type Signal } from "@preact/signals";

import type { KubeObject } from "../../../src/service/model/object.ts";
import { backoffMs, pause } from "./backoff.ts";
import { ApiError, statusError, toApiError } from "./problem.ts";
import { open, request } from "./request.ts";

/** The server ends a watch after this time; one that is silent for longer has lost its connection. */
const watchSeconds = 240;
const pageSize = "500";
/** Changes that come together are shown together. */
const settleMs = 50;
/** A watch that ended sooner and brought nothing has failed. */
const shortestMs = 5000;

export interface Live<T> {
  /** By uid. */
  readonly objects: Signal<ReadonlyMap<string, T>>;
  /** `failed`: the server refuses; the others heal by themselves. */
  readonly state: Signal<"loading" | "live" | "reconnecting" | "failed">;
  readonly error: Signal<ApiError | undefined>;
  readonly stop: () => void;
}

interface List<T> {
  readonly items: readonly T[];
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
}

interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: T;
}

/** Follows the collection at `path`, narrowed by `query` (fieldSelector, labelSelector). */
export function watchCollection<T extends KubeObject>(
  path: string,
  query: Readonly<Record<string, string>> = {},
): Live<T> {
  const live = {
    objects: signal<ReadonlyMap<string, T>>(new Map()),
    state: signal<Live<T>["state"]["value"]>("loading"),
    error: signal<ApiError | undefined>(undefined),
  };
  const stopping = new AbortController();
  void new Follower<T>(path, query, live, stopping.signal).run();
  return { ...live, stop: () => stopping.abort() };
}

class Follower<T extends KubeObject> {
  readonly #path: string;
  readonly #query: Readonly<Record<string, string>>;
  readonly #live: Omit<Live<T>, "stop">;
  readonly #stop: AbortSignal;
  /** What is known, ahead of what is shown by at most settleMs. */
  #known = new Map<string, T>();
  #version: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(path: string, query: Readonly<Record<string, string>>, live: Omit<Live<T>, "stop">, stop: AbortSignal) {
    this.#path = path;
    this.#query = query;
    this.#live = live;
    this.#stop = stop;
  }

  #isOver(): boolean {
    return this.#stop.aborted;
  }

  async run(): Promise<void> {
    for (let failures = 0; !this.#isOver();) {
      try {
        await visible(this.#stop);
        if (this.#isOver()) return;
        if (this.#version === undefined) await this.#list();
        this.#live.error.value = undefined;
        this.#live.state.value = "live";
        if (await this.#follow()) failures = 0;
      } catch (thrown) {
        if (this.#isOver()) return;
        const error = toApiError(thrown);
        failures += 1;
        if (error.status === 410) this.#version = undefined;
        else if (!error.mayPass) this.#fail(error);
        else this.#live.state.value = this.#version === undefined ? "loading" : "reconnecting";
        this.#live.error.value = error.status === 410 ? undefined : error;
        await pause(error.status === 410 && failures === 1 ? 0 : backoffMs(failures, error.retryAfterMs), this.#stop);
      }
    }
  }

  /** Refused: what was shown may no longer be shown. */
  #fail(error: ApiError): void {
    this.#live.state.value = "failed";
    this.#live.error.value = error;
    this.#version = undefined;
    this.#known = new Map();
    this.#show();
  }

  async #list(): Promise<void> {
    const found = new Map<string, T>();
    for (let next: string | undefined = ""; next !== undefined;) {
      const query: Record<string, string> = {
        ...this.#query,
        limit: pageSize,
        ...(next === "" ? {} : { continue: next }),
      };
      const page: List<T> = await request<List<T>>("GET", this.#path, { query, signal: this.#stop });
      for (const item of page.items) found.set(item.metadata.uid, item);
      next = page.metadata.continue === undefined || page.metadata.continue === "" ? undefined : page.metadata.continue;
      this.#version = page.metadata.resourceVersion;
    }
    this.#known = found;
    this.#show();
  }

  /** Takes changes until the stream ends or nobody looks any more; tells whether any came. */
  async #follow(): Promise<boolean> {
    const connection = new AbortController();
    const end = (): void => connection.abort();
    const endIfHidden = (): void => {
      if (document.hidden) end();
    };
    const timer = setTimeout(end, (watchSeconds + 15) * 1000);
    this.#stop.addEventListener("abort", end);
    // Browsers allow six connections to a server of HTTP/1.1; tabs that nobody sees leave theirs to the others.
    document.addEventListener("visibilitychange", endIfHidden);
    const began = performance.now();
    let came = false;
    try {
      const query = {
        ...this.#query,
        watch: "true",
        allowWatchBookmarks: "true",
        timeoutSeconds: String(watchSeconds),
        resourceVersion: this.#version ?? "",
      };
      const answer = await open("GET", this.#path, { query, signal: connection.signal });
      if (answer.body === null) throw new ApiError("The server's answer has no body", 0);
      for await (const line of lines(answer.body)) {
        this.#take(JSON.parse(line) as WatchEvent<T>);
        came = true;
      }
      // One that ends at once would otherwise be opened again without a pause.
      if (!came && performance.now() - began < shortestMs)
        throw new ApiError("The server ended the watch immediately", 0);
      return true;
    } catch (error) {
      if (connection.signal.aborted) return true;
      throw error;
    } finally {
      clearTimeout(timer);
      this.#stop.removeEventListener("abort", end);
      document.removeEventListener("visibilitychange", endIfHidden);
    }
  }

  #take({ type, object }: WatchEvent<T>): void {
    if (type === "ERROR") {
      const status = object as unknown as Record<string, unknown>;
      throw statusError(status, typeof status["code"] === "number" ? status["code"] : 500);
    }
    this.#version = object.metadata.resourceVersion;
    if (type === "BOOKMARK") return;
    if (type === "DELETED") this.#known.delete(object.metadata.uid);
    else this.#known.set(object.metadata.uid, object);
    this.#timer ??= setTimeout(() => this.#show(), settleMs);
  }

  #show(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#live.objects.value = new Map(this.#known);
  }
}

/** Resolves when the page is visible, or `stop` is aborted. */
function visible(stop: AbortSignal): Promise<void> {
  if (!document.hidden || stop.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const check = (): void => {
      if (document.hidden && !stop.aborted) return;
      document.removeEventListener("visibilitychange", check);
      stop.removeEventListener("abort", check);
      resolve();
    };
    document.addEventListener("visibilitychange", check);
    stop.addEventListener("abort", check);
  });
}

/** The lines of a stream of text. A stream that is cut inside of a line gives no part of it. */
async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) if (line.trim() !== "") yield line;
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}
