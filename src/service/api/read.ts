/** get and list. */
import type { KubeObject } from "../model/object.ts";
import type { ObjectList } from "../store/store.ts";
import { isCode } from "./write.ts";
import { asObject, liveObject, visibleTo, type ApiAnswer, type ApiRequest } from "./context.ts";
import type { Fields } from "./json.ts";
import { checkVersion, parameter, type ReadOptions } from "./request-options.ts";
import { apiVersionOf } from "./resource-types.ts";
import { selectorOf, type Selector } from "./selectors.ts";
import { badRequest, expired, futureVersion } from "./status.ts";

/** GET of one object. Throws StatusError. */
export async function get(request: ApiRequest): Promise<ApiAnswer> {
  const version = parameter(request.query, "resourceVersion");
  checkVersion(version);
  throwIfFuture(request, version);
  return { status: 200, object: visibleTo(request, asObject(await liveObject(request))) };
}

/** Throws 504 for a version that the store has not reached. */
export function throwIfFuture({ deps: { store } }: ApiRequest, version: string): void {
  const current = store.version();
  if (version !== "" && BigInt(version) > BigInt(current)) throw futureVersion(version, current);
}

/** GET of a collection. Throws StatusError. */
export async function list(request: ApiRequest, options: ReadOptions): Promise<ApiAnswer> {
  const {
    place: { type },
  } = request;
  const selector = selectorOf(options, type.resource);
  if (options.continue === "") throwIfFuture(request, options.resourceVersion);
  else if (options.resourceVersion !== "" && options.resourceVersion !== "0")
    throw badRequest("specifying resource version is not allowed when using continue");
  if (options.resourceVersionMatch === "Exact" && options.resourceVersion !== request.deps.store.version()) {
    throw expired(`The resourceVersion for the provided list is too old: ${options.resourceVersion}`);
  }
  const isWhole = options.limit === 0 && options.continue === "";
  const pages = pagesOf(request, selector);
  const found = isWhole
    ? await firstOf(pages)
    : await page(request, selector, Math.min(options.limit, mostPerPage), options.continue);
  const metadata: Fields = {
    resourceVersion: found.resourceVersion,
    ...(found.continue === undefined || isWhole ? {} : { continue: found.continue }),
    ...(found.remaining === undefined || selector !== undefined || isWhole
      ? {}
      : { remainingItemCount: found.remaining }),
  };
  const visible = ({ items }: ObjectList<KubeObject>): Fields[] => items.map((item) => visibleTo(request, item));
  return {
    status: 200,
    object: {
      kind: `${type.kind}List`,
      apiVersion: apiVersionOf(type),
      metadata,
      items: visible(found),
    },
    ...(isWhole && found.continue !== undefined ? { more: mapped(pages, visible) } : {}),
  };
}

/** Objects of a page that a client asks for with `limit`; the rest comes by `continue`. */
const mostPerPage = 500;

async function firstOf(pages: AsyncGenerator<ObjectList<KubeObject>>): Promise<ObjectList<KubeObject>> {
  // There is always a first page, be it empty.
  return (await pages.next()).value as ObjectList<KubeObject>;
}

async function* mapped<T, R>(items: AsyncIterable<T>, change: (item: T) => R): AsyncGenerator<R> {
  for await (const item of items) yield change(item);
}

/** Everything that matches. */
export function listAll(request: ApiRequest, selector: Selector | undefined): Promise<ObjectList<KubeObject>> {
  return page(request, selector, 0, "");
}

/** Objects that are read at a time where all are sent: other requests get their turn in between. */
const pageSize = 50;

/**
 * Everything that matches, page by page as it is asked for, all as of the version of the first page. Throws 410 where
 * that is too old to go on.
 */
export async function* pagesOf(
  request: ApiRequest,
  selector: Selector | undefined,
): AsyncGenerator<ObjectList<KubeObject>> {
  let next = "";
  do {
    const part = await storedPage(request, pageSize, next);
    yield { ...part, items: request.measured(() => part.items.filter((item) => selector?.(item) ?? true)) };
    next = part.continue ?? "";
  } while (next !== "");
}

/** The next `limit` matching objects (0: all). Throws 410 for a `continue` that is too old. */
async function page(
  request: ApiRequest,
  selector: Selector | undefined,
  limit: number,
  from: string,
): Promise<ObjectList<KubeObject>> {
  const items: KubeObject[] = [];
  let next = from;
  for (;;) {
    const part = await storedPage(request, limit === 0 ? 0 : limit - items.length, next);
    items.push(...request.measured(() => part.items.filter((item) => selector?.(item) ?? true)));
    next = part.continue ?? "";
    if (next === "" || limit === 0 || items.length >= limit) return { ...part, items };
  }
}

async function storedPage(
  { deps: { store }, place: { type, namespace }, measured }: ApiRequest,
  limit: number,
  from: string,
): Promise<ObjectList<KubeObject>> {
  // A page is read in one go: others get their turn between two.
  if (from !== "") await new Promise(setImmediate);
  try {
    return await measured(() =>
      store.list(type.resource, {
        ...(namespace === "" ? {} : { namespace }),
        ...(limit === 0 ? {} : { limit }),
        ...(from === "" ? {} : { continue: from }),
      }),
    );
  } catch (error) {
    if (isCode(error, "E_BAD_REQUEST")) throw badRequest("continue key is not valid");
    if (!isCode(error, "E_VERSION_EXPIRED")) throw error;
    throw expired(
      "The provided continue parameter is too old to display a consistent list result. You can " +
        "start a new list without the continue parameter.",
    );
  }
}
