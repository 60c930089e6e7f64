/** Namespaces come with the first object in them, and go with everything in them. */
import type { Logger } from "../../log/logger.ts";
import type { KubeObject, ResourceName } from "../model/object.ts";
import type { ResourceStore } from "../store/store.ts";
import { asObject } from "./context.ts";
import { without, type Fields } from "./json.ts";
import { complete } from "./kind-rules.ts";
import type { RequestTarget } from "./metadata.ts";
import { resourceTypes, typeOf } from "./resource-types.ts";
import { DvcrError } from "../../errors/dvcr-error.ts";
import { forbidden, invalidField, invalidObject } from "./status.ts";

const contents: readonly ResourceName[] = resourceTypes
  .filter(({ namespaced }) => namespaced)
  .map(({ resource }) => resource);
const label = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

/** Holds a namespace that is being deleted until it is empty. */
const finalizer = "virtualization.deckhouse.io/namespace-content";

/**
 * Makes the namespace of a new object where there is none. Throws 403 where it is being deleted, 422 for a name that is
 * none.
 */
export async function openForContent(
  store: ResourceStore,
  { type, namespace }: RequestTarget,
  name: string,
  dryRun: boolean,
): Promise<void> {
  if (!type.namespaced) return;
  if (!label.test(namespace)) {
    throw invalidObject(type, name, [
      invalidField(
        "metadata.namespace",
        namespace,
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and " +
          "must start and end with an alphanumeric character",
      ),
    ]);
  }
  const found = await store.get({ resource: "namespaces", namespace: "", name: namespace });
  if (found === undefined) {
    if (!dryRun) await makeNamespace(store, namespace);
  } else if (found.metadata.deletionTimestamp !== undefined) {
    throw forbidden(
      type,
      name,
      `unable to create new content in namespace ${namespace} because it is being terminated`,
      [
        {
          reason: "NamespaceTerminating",
          message: `namespace ${namespace} is being terminated`,
          field: "metadata.namespace",
        },
      ],
    );
  }
}

/** No error where it is there already. */
export async function makeNamespace(store: ResourceStore, name: string): Promise<void> {
  const object: Fields = { apiVersion: "v1", kind: "Namespace", metadata: { name }, status: { phase: "Active" } };
  complete(typeOf("namespaces"), object);
  try {
    await store.create("namespaces", asObject(object));
  } catch (error) {
    if (!(error instanceof DvcrError) || error.code !== "E_OBJECT_EXISTS") throw error;
  }
}

/** Marks a namespace so that its deletion waits for its contents. */
export async function holdNamespace(store: ResourceStore, live: KubeObject): Promise<void> {
  const { finalizers = [] } = live.metadata;
  if (finalizers.includes(finalizer)) return;
  const held: KubeObject & { status: unknown } = {
    ...live,
    metadata: { ...live.metadata, finalizers: [...finalizers, finalizer] },
    status: { phase: "Terminating" },
  };
  await store.update("namespaces", held);
}

/** Keeps `default` there, and empties namespaces that are being deleted. */
export class NamespaceLifecycle {
  readonly #store: ResourceStore;
  readonly #log: Logger;
  readonly #unwatch: (() => void)[] = [];
  #work: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(store: ResourceStore, log: Logger) {
    this.#store = store;
    this.#log = log;
  }

  async start(): Promise<void> {
    await makeNamespace(this.#store, "default");
    this.#unwatch.push(
      this.#store.watch("namespaces", {}, ({ object }) => {
        if (object.metadata.deletionTimestamp !== undefined) this.#sweepSoon(object.metadata.name);
      }),
      ...contents.map((resource) =>
        this.#store.watch(resource, {}, ({ type, object }) => {
          if (type === "DELETED") this.#sweepSoon(object.metadata.namespace ?? "");
        }),
      ),
    );
    for (const { metadata } of (await this.#store.list("namespaces")).items)
      if (metadata.deletionTimestamp !== undefined) this.#sweepSoon(metadata.name);
  }

  /** Stops watching and waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const unwatch of this.#unwatch) unwatch();
    await this.#work;
  }

  #sweepSoon(namespace: string): void {
    this.#work = this.#work
      .then(() => (this.#stopped ? undefined : this.#sweep(namespace)))
      .catch((error: unknown) => {
        this.#log.warn({ err: error, namespace }, "the namespace could not be emptied");
      });
  }

  async #sweep(namespace: string): Promise<void> {
    const key = { resource: "namespaces", namespace: "", name: namespace } as const;
    const live = await this.#store.get(key);
    if (live?.metadata.deletionTimestamp === undefined) return;
    let left = 0;
    for (const resource of contents) {
      for (const { metadata } of (await this.#store.list(resource, { namespace })).items) {
        left += 1;
        if (metadata.deletionTimestamp === undefined)
          await this.#store.remove({ resource, namespace, name: metadata.name });
      }
    }
    if (left === 0) await this.#release(live);
    else await this.#sweepIfEmpty(namespace);
  }

  /** What had no finalizers is gone at once, and its DELETED may have been seen already. */
  async #sweepIfEmpty(namespace: string): Promise<void> {
    const counts = await Promise.all(
      contents.map(async (resource) => (await this.#store.list(resource, { namespace, limit: 1 })).items.length),
    );
    const live = await this.#store.get({ resource: "namespaces", namespace: "", name: namespace });
    if (live !== undefined && counts.every((count) => count === 0)) await this.#release(live);
  }

  async #release(live: KubeObject): Promise<void> {
    const finalizers = (live.metadata.finalizers ?? []).filter((name) => name !== finalizer);
    const metadata = without(live.metadata, "finalizers");
    await this.#store.update("namespaces", {
      ...live,
      metadata: finalizers.length === 0 ? metadata : { ...metadata, finalizers },
    });
  }
}
