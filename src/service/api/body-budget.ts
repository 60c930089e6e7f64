/** Bytes of requests' bodies that are held at a time, in all and for each user. */
import { bodyLimit } from "./decode/limits.ts";
import { tooManyRequests } from "./loop-shares.ts";

const mebibyte = 2 ** 20;
const defaults = { user: 24 * mebibyte, all: 96 * mebibyte };

export class BodyBudget {
  readonly #limits: typeof defaults;
  readonly #byUser = new Map<string, number>();
  #all = 0;

  constructor(limits: Partial<typeof defaults> = {}) {
    this.#limits = { ...defaults, ...limits };
  }

  /** Takes what a body of this Content-Length may come to, and returns what gives it back, once. Throws 429. */
  take(user: string, contentLength: string | undefined, isChunked: boolean): () => void {
    const announced = isChunked ? bodyLimit : Math.min(Number(contentLength ?? 0), bodyLimit);
    const bytes = Number.isFinite(announced) ? announced : bodyLimit;
    const held = this.#byUser.get(user) ?? 0;
    if (bytes > 0 && (held + bytes > this.#limits.user || this.#all + bytes > this.#limits.all))
      throw tooManyRequests("the bodies of requests that are being handled take all the memory there is for them");
    this.#note(user, bytes);
    let isHeld = true;
    return () => {
      if (isHeld) this.#note(user, -bytes);
      isHeld = false;
    };
  }

  #note(user: string, bytes: number): void {
    this.#all += bytes;
    const held = (this.#byUser.get(user) ?? 0) + bytes;
    if (held > 0) this.#byUser.set(user, held);
    else this.#byUser.delete(user);
  }
}
