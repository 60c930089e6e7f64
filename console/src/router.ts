/** Which page the address names. Three pages and no nesting: a parser and the History API are all that is needed. */
import { signal } from "@preact/signals";

export type Route =
  | { readonly page: "list" }
  | { readonly page: "create" }
  | {
      readonly page: "image";
      readonly kind: "ClusterVirtualImage" | "VirtualImage";
      readonly namespace: string;
      readonly name: string;
    }
  | { readonly page: "unknown" };

/** The route of a path, as the server's fallback knows them too: `/`, `/create`, `/images/…`. */
export function routeOf(path: string): Route {
  const parts = path
    .split("/")
    .filter((part) => part !== "")
    .map(decode);
  if (parts.length === 0) return { page: "list" };
  if (parts.length === 1 && parts[0] === "create") return { page: "create" };
  const [first, second, ...rest] = parts;
  if (first === "images" && second === "cvi" && rest.length === 1)
    return { page: "image", kind: "ClusterVirtualImage", namespace: "", name: rest[0]! };
  if (first === "images" && second === "vi" && rest.length === 2)
    return { page: "image", kind: "VirtualImage", namespace: rest[0]!, name: rest[1]! };
  return { page: "unknown" };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of an image's page. */
export function imagePath(namespace: string | undefined, name: string): string {
  const of = namespace === undefined || namespace === "" ? "cvi" : `vi/${encodeURIComponent(namespace)}`;
  return `/images/${of}/${encodeURIComponent(name)}`;
}

/** Where we are; pages read it. */
export const path = signal(location.pathname);

/** Goes to another page of the console. */
export function navigate(to: string): void {
  history.pushState(null, "", to);
  arrive();
}

function arrive(): void {
  path.value = location.pathname;
  scrollTo(0, 0);
}

/** Follows the Back button, and every plain click on a link to a page of the console, without loading anything. */
export function followLinks(): void {
  addEventListener("popstate", () => (path.value = location.pathname));
  document.addEventListener("click", (event) => {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    if (
      !(link instanceof HTMLAnchorElement) ||
      link.origin !== location.origin ||
      link.target !== "" ||
      link.hasAttribute("download")
    )
      return;
    if (link.hash !== "" || routeOf(link.pathname).page === "unknown") return;
    event.preventDefault();
    if (link.pathname !== location.pathname) navigate(link.pathname);
  });
}
