/**
 * Keeps undici 7 from ending the process: where a server closes its connection while the reader of the body is behind,
 * the parser is paused, and undici asserts in an event handler that it is not (nodejs/undici#5360). The cure is in
 * undici 8, which needs Node 22.19; here the parser goes on before it is finished. What it still holds, a few KiB, is
 * handed over.
 *
 * To be imported, for that alone, by whoever makes a dispatcher.
 */
import { cureParser } from "./parser-cure.ts";

/** The part of undici's HTTP/1 parser that is used here. */
interface Parser {
  paused: boolean;
  readonly ptr: unknown;
  readonly socket: { readonly destroyed: boolean; readonly readableLength: number };
  readonly llhttp: { llhttp_resume(ptr: unknown): void };
  resume(): void;
  finish(): unknown;
}

const mostTurns = 1000;

cureParser<Parser>("finish", (kind) => {
  // Called below with the parser that it is for.
  // eslint-disable-next-line @typescript-eslint/unbound-method
  const { finish } = kind;
  kind.finish = function finishPaused(this: Parser): unknown {
    const { socket } = this;
    // Each turn hands over what one pause has held back.
    for (
      let turn = 0;
      this.paused && !socket.destroyed && (turn === 0 || socket.readableLength > 0) && turn < mostTurns;
      turn += 1
    )
      this.resume();
    // A body that the end of the connection ends pauses again, with nothing left: only finishing completes it.
    if (this.paused && !socket.destroyed) {
      this.llhttp.llhttp_resume(this.ptr);
      this.paused = false;
    }
    // Gone with its connection: whoever reads hears of that.
    return this.paused || this.ptr === null ? null : finish.call(this);
  };
});
