/**
 * Who is signed in: a bearer token, kept for this tab only. There is no cookie, and so nothing for another site to ride
 * on.
 */
import { signal } from "@preact/signals";

const key = "dvcr.token";

/** "" where nobody has signed in; most servers on a laptop need no token. */
export const token = signal(sessionStorage.getItem(key) ?? "");

/** True once the server has refused a request for want of a token. */
export const signInNeeded = signal(false);

/** Keeps `value` for this tab and goes on with it. */
export function signIn(value: string): void {
  sessionStorage.setItem(key, value);
  token.value = value;
  signInNeeded.value = false;
}

/** Forgets the token. */
export function signOut(): void {
  sessionStorage.removeItem(key);
  token.value = "";
  signInNeeded.value = true;
}
