/** Changes undici's HTTP/1 parser where it is wrong: the parser is no export, but each connection has one. */
import { subscribe } from "node:diagnostics_channel";

/**
 * Has `change` applied once to the parsers' prototype, when the first connection is made. Where undici is built
 * otherwise, and for HTTP/2, nothing is changed. To be called as a module is loaded: a channel calls a listener as
 * often as it was subscribed.
 *
 * @param method one that the parser must have
 */
export function cureParser<Parser>(method: keyof Parser & string, change: (kind: Parser) => void): void {
  const cured = new WeakSet<object>();
  subscribe("undici:client:connected", (message) => {
    const parser = parserOf((message as { readonly socket?: object }).socket, method);
    if (parser === undefined) return;
    const kind = Object.getPrototypeOf(parser) as object;
    if (cured.has(kind)) return;
    cured.add(kind);
    change(kind as Parser);
  });
}

function parserOf(socket: object | undefined, method: string): object | undefined {
  const key = Object.getOwnPropertySymbols(socket ?? {}).find(({ description }) => description === "parser");
  const parser = key === undefined ? undefined : (socket as Record<symbol, unknown>)[key];
  const isParser = typeof (parser as Record<string, unknown> | null | undefined)?.[method] === "function";
  return isParser ? (parser as object) : undefined;
}
