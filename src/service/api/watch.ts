/** Watches: changes as they come, one JSON document a line. */
import { Readable } from "node:stream";

import type { Change } from "../store/store.ts";
import type { KubeObject } from "../model/object.ts";
import type { User } from "../security/authorize.ts";
import { visibleTo, type ApiRequest } from "./context.ts";
import type { Fields } from "./json.ts";
import { listAll, throwIfFuture } from "./read.ts";
import type { ReadOptions } from "./request-options.ts";
import { apiVersionOf } from "./resource-types.ts";
import { selectorOf, type Selector } from "./selectors.ts";
import { expired, type StatusError } from "./status.ts";
import { partialMetadata, table } from "./table/table.ts";
import { isCode } from "./write.ts";

type EventType = "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";

const bookmarkMilliseconds = 60_000;
/** A client is sent no more than ten pieces a second, of as many changes as there are: with hundreds of clients pieces are what costs. */
const flushMilliseconds = 100;
/** Without `timeoutSeconds` a watch ends after this and up to as much again, so that clients do not come back all at once. */
const defaultTimeoutMilliseconds = 30 * 60_000;
/** How often it is looked whether users may still come: a changed file of tokens holds within seconds. */
const checkMilliseconds = 2000;
/** Longer ones overflow Node's timers. */
const longestMilliseconds = 24 * 3_600_000;
/** A client that reads slower than that is cut off; it lists again. */
const mostBuffered = 8 * 1024 * 1024;

/** Open watches, to be ended when the server stops, or when whoever opened them may not come any more. */
export class Watches {
  readonly #open = new Set<Watch>();
  readonly #isCurrent: (user: User) => Promise<boolean>;
  readonly #checker: NodeJS.Timeout;

  constructor(isCurrent: (user: User) => Promise<boolean>) {
    this.#isCurrent = isCurrent;
    this.#checker = setInterval(() => void this.#check(), checkMilliseconds).unref();
  }

  /** Throws StatusError before anything is sent. */
  async open(request: ApiRequest, options: ReadOptions): Promise<Readable> {
    const watch = new Watch(request, options);
    await watch.start();
    this.#open.add(watch);
    watch.body.once("close", () => this.#open.delete(watch));
    return watch.body;
  }

  get count(): number {
    return this.#open.size;
  }

  close(): void {
    clearInterval(this.#checker);
    for (const watch of this.#open) watch.end();
  }

  async #check(): Promise<void> {
    for (const watch of [...this.#open]) {
      if (!(await this.#isCurrent(watch.user))) watch.end();
    }
  }
}

/** Objects are handed to all watchers alike, so each is put into words once. */
const documents = new WeakMap<object, string>();

function documentOf(object: object): string {
  const known = documents.get(object);
  if (known !== undefined) return known;
  const document = JSON.stringify(object);
  documents.set(object, document);
  return document;
}

class Watch {
  /** Whoever sends it takes what is there; there is nothing to be asked for. */
  readonly body = new Readable({ read: () => undefined });
  readonly #request: ApiRequest;
  readonly #options: ReadOptions;
  readonly #selector: Selector | undefined;
  #timers: NodeJS.Timeout[] = [];
  #unwatch: () => void = () => undefined;
  /** Columns are told once. */
  #columnsTold = false;
  #version = "";
  #isOver = false;
  /** What waits to be sent together: many changes at once are one write to each client. */
  #lines: string[] = [];
  #flushedAt = 0;

  /** Bytes that may wait for the client; the state at the beginning is not held against it. */
  #allowed = Infinity;

  constructor(request: ApiRequest, options: ReadOptions) {
    this.#request = request;
    this.#options = options;
    this.#selector = selectorOf(options, request.place.type.resource);
  }

  async start(): Promise<void> {
    const { resourceVersion, sendInitialEvents } = this.#options;
    throwIfFuture(this.#request, resourceVersion);
    this.body.once("close", () => {
      this.#release();
    });
    const fromState = sendInitialEvents || resourceVersion === "" || resourceVersion === "0";
    const since = fromState ? await this.#sendState() : resourceVersion;
    this.#flush();
    this.#allowed = mostBuffered + this.body.readableLength;
    this.#version = since;
    const {
      deps: { store },
      place: { type, namespace },
    } = this.#request;
    try {
      this.#unwatch = store.watch(type.resource, { since, ...(namespace === "" ? {} : { namespace }) }, (change) => {
        this.#onChange(change);
      });
    } catch (error) {
      if (!isCode(error, "E_VERSION_EXPIRED")) throw error;
      this.#fail(expired(`too old resource version: ${since} (${store.version()})`));
      return;
    }
    this.#schedule();
  }

  /** What is there already, as additions; the version that it is of. */
  async #sendState(): Promise<string> {
    const { items, resourceVersion } = await listAll(this.#request, this.#selector);
    for (const item of items) this.#send("ADDED", item);
    this.#version = resourceVersion;
    if (this.#options.sendInitialEvents && this.#options.allowWatchBookmarks)
      this.#bookmark({ "k8s.io/initial-events-end": "true" });
    return resourceVersion;
  }

  #schedule(): void {
    const { timeoutSeconds, allowWatchBookmarks } = this.#options;
    const timeout = timeoutSeconds > 0 ? timeoutSeconds * 1000 : defaultTimeoutMilliseconds * (1 + Math.random());
    this.#timers = [
      setTimeout(
        () => {
          this.end();
        },
        Math.min(timeout, longestMilliseconds),
      ),
    ];
    if (allowWatchBookmarks)
      this.#timers.push(
        setInterval(() => {
          this.#bookmark();
        }, bookmarkMilliseconds),
      );
    for (const timer of this.#timers) timer.unref();
  }

  #release(): void {
    this.#unwatch();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
  }

  get user(): User {
    return this.#request.user;
  }

  /** Tells how far it came, and ends. */
  end(): void {
    if (this.#isOver) return;
    if (this.#options.allowWatchBookmarks && this.#version !== "") this.#bookmark();
    this.#release();
    this.#flush();
    this.#isOver = true;
    this.body.push(null);
  }

  #onChange({ type, object, previous }: Change): void {
    this.#version = object.metadata.resourceVersion;
    const matches = (one: KubeObject | undefined): boolean => one !== undefined && (this.#selector?.(one) ?? true);
    const is = type !== "DELETED" && matches(object);
    const was = type === "DELETED" ? matches(previous ?? object) : type === "MODIFIED" && matches(previous);
    if (is) this.#send(was ? "MODIFIED" : "ADDED", object);
    else if (was) this.#send("DELETED", object);
  }

  #send(type: EventType, object: KubeObject): void {
    this.#write(type, this.#formed(visibleTo(this.#request, object)));
  }

  #bookmark(annotations?: Record<string, string>): void {
    const {
      place: { type },
    } = this.#request;
    const metadata = {
      resourceVersion: this.#version,
      creationTimestamp: null,
      ...(annotations === undefined ? {} : { annotations }),
    };
    this.#write("BOOKMARK", this.#formed({ kind: type.kind, apiVersion: apiVersionOf(type), metadata }, true));
  }

  #formed(object: Fields, isBookmark = false): string {
    const { wanted } = this.#request;
    if (wanted.form === "Object") return isBookmark ? JSON.stringify(object) : documentOf(object);
    if (wanted.form !== "Table") return JSON.stringify(partialMetadata(object, wanted));
    const { metadata } = object as { metadata: Fields };
    const document = table(
      this.#request,
      [object],
      { resourceVersion: metadata["resourceVersion"] },
      this.#options.includeObject,
      !this.#columnsTold,
    );
    this.#columnsTold = true;
    return JSON.stringify(document);
  }

  #fail(error: StatusError): void {
    this.#write("ERROR", JSON.stringify(error.body()));
    this.end();
  }

  #write(type: EventType, document: string): void {
    if (this.#isOver || this.body.destroyed) return;
    if (this.#lines.length === 0) this.#flushSoon();
    this.#lines.push(`{"type":"${type}","object":${document}}\n`);
  }

  /** At the end of this turn of the event loop, but not sooner after the last time than clients notice. */
  #flushSoon(): void {
    const wait = this.#flushedAt + flushMilliseconds - performance.now();
    if (wait <= 0)
      process.nextTick(() => {
        this.#flush();
      });
    else
      setTimeout(() => {
        this.#flush();
      }, wait);
  }

  #flush(): void {
    const lines = this.#lines;
    if (lines.length === 0 || this.#isOver || this.body.destroyed) return;
    this.#lines = [];
    this.#flushedAt = performance.now();
    this.body.push(lines.join(""));
    if (this.body.readableLength > this.#allowed) this.body.destroy();
  }
}
