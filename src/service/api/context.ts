/** What the handlers of one request share. */
import type { Logger } from "../../log/logger.ts";
import type { KubeObject, ObjectKey } from "../model/object.ts";
import type { Authorize, User } from "../security/authorize.ts";
import type { ResourceStore } from "../store/store.ts";
import { fieldsOf, without, type Fields } from "./json.ts";
import type { LoopShares } from "./loop-shares.ts";
import type { RequestTarget } from "./metadata.ts";
import type { Wanted } from "./negotiate.ts";
import type { Query } from "./request-options.ts";
import { notFound } from "./status.ts";
import type { BudgetLimits } from "./watch-budget.ts";

export interface ApiDeps {
  readonly store: ResourceStore;
  readonly authorize: Authorize;
  /** Whether a user of an earlier request may still come: a watch would outlive a withdrawn token by hours. */
  readonly isCurrent: (user: User) => Promise<boolean>;
  readonly log: Logger;
  /** What watches may hold for clients that do not read; missing: as docs/limits.md says. */
  readonly watchLimits?: Partial<BudgetLimits>;
  /** Missing: as docs/limits.md says. */
  readonly shares?: LoopShares;
}

export interface ApiRequest {
  readonly deps: ApiDeps;
  readonly place: RequestTarget;
  readonly subresource: "" | "status";
  readonly query: Query;
  readonly user: User;
  /** Runs what keeps the event loop on the user's account. */
  readonly measured: <T>(work: () => T) => T;
  readonly userAgent: string | undefined;
  readonly body: Buffer;
  readonly contentType: string | undefined;
  readonly wanted: Wanted;
  /** Sent as Warning headers. */
  readonly warnings: string[];
}

export interface ApiAnswer {
  readonly status: number;
  readonly object: Fields;
  /** Of a long list: the items after those of `object`, to be read as the client takes them. */
  readonly more?: AsyncIterable<readonly Fields[]>;
}

export const keyOf = ({ type, namespace, name }: RequestTarget): ObjectKey => ({
  resource: type.resource,
  namespace,
  name,
});

/** A stored object as plain JSON; it is never changed in place. */
export const asFields = (object: KubeObject): Fields => object as unknown as Fields;
export const asObject = (fields: Fields): KubeObject => fields as unknown as KubeObject;

/** Throws 404. */
export async function liveObject({ deps, place }: Pick<ApiRequest, "deps" | "place">): Promise<Fields> {
  const found = await deps.store.get(keyOf(place));
  if (found === undefined) throw notFound(place.type, place.name);
  return asFields(found);
}

/**
 * The object as this user may see it: upload URLs let whoever knows them send data, so that only those who may change
 * the image see them.
 */
export function visibleTo(
  { deps, user, place: { type } }: Pick<ApiRequest, "deps" | "user" | "place">,
  object: KubeObject,
): Fields {
  const fields = asFields(object);
  if (!type.custom || fieldsOf(fields, "status")["imageUploadURLs"] === undefined) return fields;
  const { name, namespace = "" } = object.metadata;
  if (deps.authorize(user, { verb: "update", resource: type.resource, group: type.group, namespace, name }))
    return fields;
  return { ...fields, status: without(fieldsOf(fields, "status"), "imageUploadURLs") };
}
