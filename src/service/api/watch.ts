/** Watches: changes as they come, one JSON document a line. */
import { Readable } from "node:stream";

import type { Change } from "../store/store.ts";
import type { KubeObject } from "../model/object.ts";
import type { User } from "../security/authorize.ts";
import { visibleTo, type ApiRequest } from "./context.ts";
import type { Fields } from "./json.ts";
import { toStatus } from "./errors.ts";
import { pagesOf, throwIfFuture } from "./read.ts";
import type { ReadOptions } from "./request-options.ts";
import { apiVersionOf } from "./resource-types.ts";
import { selectorOf, type Selector } from "./selectors.ts";
import { expired, type StatusError } from "./status.ts";
import { partialMetadata, table } from "./table/table.ts";
import type { Holder, WatchBudget } from "./watch-budget.ts";
import { isCode } from "./write.ts";

type EventType = "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";

const bookmarkMilliseconds = 60_000;
/**
 * A client is sent no more than ten pieces a second, of as many changes as there are: with hundreds of clients pieces
 * are what costs.
 */
const flushMilliseconds = 100;
/**
 * Without `timeoutSeconds` a watch ends after this and up to as much again, so that clients do not come back all at
 * once.
 */
const defaultTimeoutMilliseconds = 30 * 60_000;
/** Longer ones overflow Node's timers. */
const longestMilliseconds = 24 * 3_600_000;
/** Bytes that are handed to a connection at a time. */
const pieceLength = 64 * 1024;
/**
 * A client that has not taken a piece of the state at the beginning by then is ended: what comes next would no longer
 * fit to it.
 */
const stateMilliseconds = 60_000;
/** A client that was ended may take the reason for so long. */
const partingMilliseconds = 10_000;

/** Objects are handed to all watchers alike, so each is put into words once. */
const documents = new WeakMap<object, string>();

function documentOf(object: object): string {
  const known = documents.get(object);
  if (known !== undefined) return known;
  const document = JSON.stringify(object);
  documents.set(object, document);
  return document;
}

/** One watch. Of its own accord it ends after its timeout, or when its client is too far behind. */
export class Watch implements Holder {
  /**
   * Asks for the next piece when its connection takes one; until then changes wait here, where equal ones are held
   * once.
   */
  readonly body = new Readable({
    highWaterMark: 0,
    read: () => {
      this.#onTaken();
    },
  });
  readonly owner: string;
  readonly #budget: WatchBudget;
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
  #held = 0;
  /** Of these, what the connection has been given and not taken. */
  #given = 0;
  #isFollowing = false;
  #isWanted = false;
  #onWanted: () => void = () => undefined;
  #flushTimer: NodeJS.Timeout | undefined;
  #flushedAt = 0;

  constructor(request: ApiRequest, options: ReadOptions, budget: WatchBudget) {
    this.#request = request;
    this.owner = request.user.name;
    this.#budget = budget;
    this.#options = options;
    this.#selector = selectorOf(options, request.place.type.resource);
  }

  get held(): number {
    return this.#held;
  }

  /** Throws 504 for a version that is not reached. */
  start(): void {
    const { resourceVersion, sendInitialEvents } = this.#options;
    throwIfFuture(this.#request, resourceVersion);
    this.body.once("close", () => {
      this.#release();
    });
    this.#schedule();
    if (!sendInitialEvents && resourceVersion !== "" && resourceVersion !== "0") {
      this.#follow(resourceVersion);
      return;
    }
    this.#sendState().catch((error: unknown) => {
      this.#fail(toStatus(error));
    });
  }

  /**
   * What is there already, as additions, a page whenever the client has taken the one before; then what changed since.
   */
  async #sendState(): Promise<void> {
    for await (const { items, resourceVersion } of pagesOf(this.#request, this.#selector)) {
      if (this.#isOver) return;
      this.#version = resourceVersion;
      for (const item of items) this.#send("ADDED", item);
      this.#flush(Infinity);
      await this.#taken();
    }
    if (this.#isOver || this.body.destroyed) return;
    // The client may have taken long: whether the log still reaches back is seen now.
    this.#follow(this.#version);
    if (this.#options.sendInitialEvents && this.#options.allowWatchBookmarks)
      this.#bookmark({ "k8s.io/initial-events-end": "true" });
  }

  /** Resolves once the connection asks for more; a client that does not for long is ended. */
  async #taken(): Promise<void> {
    if (this.#isWanted || this.#isOver || this.body.destroyed) return;
    const timer = setTimeout(() => {
      this.expire();
    }, stateMilliseconds);
    await new Promise<void>((resolve) => (this.#onWanted = resolve));
    clearTimeout(timer);
  }

  #follow(since: string): void {
    const {
      deps: { store },
      place: { type, namespace },
    } = this.#request;
    this.#version = since;
    this.#isFollowing = true;
    try {
      this.#unwatch = store.watch(type.resource, { since, ...(namespace === "" ? {} : { namespace }) }, (change) => {
        this.#onChange(change);
      });
    } catch (error) {
      if (!isCode(error, "E_VERSION_EXPIRED")) throw error;
      this.#fail(expired(`too old resource version: ${since} (${store.version()})`));
    }
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
          // Before all of the state is sent, its version would promise too much.
          if (this.#isFollowing) this.#bookmark();
        }, bookmarkMilliseconds),
      );
    for (const timer of this.#timers) timer.unref();
  }

  #release(): void {
    this.#unwatch();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
    clearTimeout(this.#flushTimer);
    this.#lines = [];
    this.#given = 0;
    this.#hold(-this.#held);
    this.#onWanted();
  }

  get user(): User {
    return this.#request.user;
  }

  /** Tells how far it came, and ends. */
  end(): void {
    if (this.#isOver) return;
    if (this.#options.allowWatchBookmarks && this.#isFollowing) this.#bookmark();
    this.#flush(Infinity);
    this.#isOver = true;
    this.#release();
    this.body.push(null);
  }

  /** Ends it as one whose version is forgotten, so that its client lists again; what waits is let go of. */
  expire(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#release();
    const error = expired("the client reads its watch too slowly, and other clients need the memory: list again");
    this.body.push(`{"type":"ERROR","object":${JSON.stringify(error.body())}}\n`);
    this.body.push(null);
    const timer = setTimeout(() => this.body.destroy(), partingMilliseconds).unref();
    this.body.once("close", () => {
      clearTimeout(timer);
    });
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
    const line = `{"type":"${type}","object":${document}}\n`;
    this.#lines.push(line);
    this.#hold(line.length);
  }

  #hold(bytes: number): void {
    this.#held += bytes;
    if (bytes !== 0) this.#budget.change(this, bytes);
  }

  /** The connection has taken what it was given, and asks for more. */
  #onTaken(): void {
    this.#isWanted = true;
    const given = this.#given;
    this.#given = 0;
    this.#hold(-given);
    this.#onWanted();
    this.#flushSoon();
  }

  /**
   * At the end of this turn of the event loop, but not sooner after the last time than clients notice, unless much
   * waits.
   */
  #flushSoon(): void {
    if (this.#flushTimer !== undefined) return;
    const wait = this.#held >= pieceLength ? 0 : this.#flushedAt + flushMilliseconds - performance.now();
    this.#flushTimer = setTimeout(
      () => {
        this.#flushTimer = undefined;
        if (this.#isWanted) this.#flush(pieceLength);
      },
      Math.max(0, wait),
    );
  }

  /** Hands the connection about `most` bytes of what waits, at least one change. */
  #flush(most: number): void {
    if (this.#lines.length === 0 || this.#isOver || this.body.destroyed) return;
    let count = 0;
    let length = 0;
    while (count < this.#lines.length && length < most) length += this.#lines[count++]!.length;
    const piece = this.#lines.splice(0, count).join("");
    this.#flushedAt = performance.now();
    this.#isWanted = false;
    this.#given += piece.length;
    this.body.push(piece);
  }
}
