/**
 * Brings every image to where its spec wants it: starts and stops imports, writes phases, conditions and events. Looks
 * at the state as it is and never at how it came about, so that it may be interrupted and repeated at any point.
 */
import { toDvcrError } from "../../errors/dvcr-error.ts";
import type { Logger } from "../../log/logger.ts";
import type { ImageObject } from "../model/image.ts";
import { labelOf } from "../model/names.ts";
import type { KubeObject, ObjectKey, ResourceName } from "../model/object.ts";
import type { ResourceStore } from "../store/store.ts";
import { ImageWork } from "./image-work.ts";
import type { ImageWorkDeps, WorkContext } from "./work-context.ts";
import { WorkQueue } from "./work-queue.ts";

export interface ReconcilerDeps extends ImageWorkDeps {
  /** How often it is looked whether stored images are still there, in milliseconds. */
  readonly presenceCheckMs: number;
}

const imageResources = ["clustervirtualimages", "virtualimages"] as const;
const workers = 32;

const textOf = ({ resource, namespace, name }: ObjectKey): string => `${resource}/${namespace}/${name}`;

function keyOf(text: string): ObjectKey {
  const [resource = "", namespace = "", name = ""] = text.split("/");
  return { resource: resource as ResourceName, namespace, name };
}

const keyOfObject = (resource: ResourceName, { metadata }: KubeObject): string =>
  textOf({ resource, namespace: metadata.namespace ?? "", name: metadata.name });

export class ImageReconciler {
  readonly #store: ResourceStore;
  readonly #log: Logger;
  readonly #work: ImageWork;
  readonly #queue: WorkQueue;
  readonly #presenceCheckMs: number;
  /** What each image was when it was last looked at: what is gone or made anew is cleaned up by it. */
  readonly #known = new Map<string, ImageObject>();
  /** Images that wait for an object to change. */
  readonly #waiters = new Map<string, Set<string>>();
  #unsubscribe: (() => void)[] = [];
  #presenceTimer: NodeJS.Timeout | undefined;

  constructor(deps: ReconcilerDeps) {
    this.#store = deps.store;
    this.#log = deps.log;
    this.#presenceCheckMs = deps.presenceCheckMs;
    this.#work = new ImageWork(deps, (key) => {
      this.#queue.add(textOf(key));
    });
    this.#queue = new WorkQueue({
      workers,
      work: (key, signal) => this.#reconcile(key, signal),
      onError: (key, error) => {
        this.#failed(key, error);
      },
    });
    if (deps.gate !== undefined) this.#unsubscribe.push(deps.gate.onOpen(() => void this.#all()));
  }

  /** Takes up every image that there is, then follows the changes. */
  async start(): Promise<void> {
    for (const resource of [...imageResources, "secrets"] as const) {
      this.#unsubscribe.push(
        this.#store.watch(resource, {}, ({ object }) => {
          this.#changed(keyOfObject(resource, object), resource !== "secrets");
        }),
      );
    }
    await this.#all();
    this.#presenceTimer = setInterval(() => {
      this.#work.checkPresence();
      void this.#all();
    }, this.#presenceCheckMs);
  }

  /** Takes nothing more on, and has the steps that are under way end. Running imports are the executor's to end. */
  async close(): Promise<void> {
    clearInterval(this.#presenceTimer);
    for (const end of this.#unsubscribe) end();
    await this.#queue.close();
  }

  async #all(): Promise<void> {
    try {
      for (const resource of imageResources) {
        const { items } = await this.#store.list<ImageObject>(resource);
        for (const image of items) this.#queue.add(keyOfObject(resource, image));
      }
    } catch (error) {
      this.#log.error({ err: error }, "the images could not be listed");
    }
  }

  #changed(key: string, isImage: boolean): void {
    if (isImage) this.#queue.add(key);
    const waiters = this.#waiters.get(key);
    this.#waiters.delete(key);
    for (const waiter of waiters ?? []) this.#queue.add(waiter);
  }

  async #reconcile(text: string, signal: AbortSignal): Promise<void> {
    const key = keyOf(text);
    const image = await this.#store.get<ImageObject>(key);
    const before = this.#known.get(text);
    if (before !== undefined && before.metadata.uid !== image?.metadata.uid) {
      await this.#work.cleanUp(before, signal);
      this.#known.delete(text);
    }
    if (image === undefined) return;
    this.#known.set(text, image);
    await this.#work.step(image, this.#contextOf(key, text, signal));
  }

  #contextOf(key: ObjectKey, text: string, signal: AbortSignal): WorkContext {
    return {
      signal,
      resource: key.resource as WorkContext["resource"],
      again: () => {
        this.#queue.add(text);
      },
      againAfter: (milliseconds) => {
        this.#queue.addAfter(text, milliseconds);
      },
      waitFor: (other) => {
        const waiters = this.#waiters.get(textOf(other)) ?? new Set();
        this.#waiters.set(textOf(other), waiters.add(text));
      },
      gone: () => {
        this.#known.delete(text);
      },
    };
  }

  #failed(key: string, error: unknown): void {
    // Somebody else was faster: looked at again at once, with what they wrote.
    if (toDvcrError(error).code === "E_OBJECT_CONFLICT") {
      this.#queue.add(key);
      return;
    }
    const image = this.#known.get(key);
    this.#log.error(
      { err: error, image: image === undefined ? key : labelOf(image) },
      "reconciling failed, trying again",
    );
  }
}
