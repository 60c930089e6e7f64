/**
 * Keeps undici 7 from dropping a connection on which a server says `100 Continue` although nobody waits for it: that
 * status is informational like every 1xx, and a client that did not ask for it ignores it (RFC 9110, section 15.2.1).
 * It is passed to undici's own code as 102, which is.
 *
 * To be imported, for that alone, by whoever makes a dispatcher.
 */
import { cureParser } from "./parser-cure.ts";

interface Parser {
  onHeadersComplete(status: number, upgrade: boolean, keepAlive: boolean): number;
}

cureParser<Parser>("onHeadersComplete", (kind) => {
  // Called below with the parser that it is for.
  // eslint-disable-next-line @typescript-eslint/unbound-method
  const { onHeadersComplete } = kind;
  kind.onHeadersComplete = function withoutContinue(this: Parser, status, upgrade, keepAlive): number {
    return onHeadersComplete.call(this, status === 100 ? 102 : status, upgrade, keepAlive);
  };
});
