import { DvcrError } from "../../errors/dvcr-error.ts";

/**
 * Where a redirect leads, its `location` as it came from the wire: one character per byte. What no URL may hold as it
 * is, raw UTF-8 and blanks among it, is percent-encoded byte by byte, as curl does; names in other encodings pass too.
 * Credentials in it are the server's, not the user's, and are dropped.
 *
 * @throws DvcrError E_SOURCE_HTTP for what is no address, none of HTTP, or leads from https to http; `described` names
 * in it who redirects.
 */
export function redirectTarget(location: string | undefined, from: URL, described: string): URL {
  const encoded = percentEncoded(location?.trim() ?? "");
  if (location === undefined || !URL.canParse(encoded, from.href))
    throw new DvcrError("E_SOURCE_HTTP", `${described} redirects without saying where to`);
  const target = new URL(encoded, from);
  if (target.protocol !== "https:" && target.protocol !== "http:")
    throw new DvcrError("E_SOURCE_HTTP", `${described} redirects to a ${target.protocol} address`);
  if (from.protocol === "https:" && target.protocol === "http:")
    throw new DvcrError("E_SOURCE_HTTP", `${described} redirects from https to http, which is refused`);
  target.username = "";
  target.password = "";
  target.hash = "";
  return target;
}

/** A blank in the query is a plus sign, as in forms; elsewhere it is %20. */
function percentEncoded(bytes: string): string {
  const query = bytes.indexOf("?");
  return bytes.replace(/[^\x21-\x7e]/g, (byte, at: number) =>
    byte === " " && query >= 0 && at > query
      ? "+"
      : `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}
