/** Requests to the server that the console came from, with the token where there is one. */
import { signInNeeded, token } from "../session.ts";
import { ApiError, problemOf, toApiError } from "./problem.ts";

export interface RequestOptions {
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

/** Sends a request; gives the answer once its head is there. Throws ApiError for anything but success. */
export async function open(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
  const { query = {}, body, signal } = options;
  const used = token.peek();
  const headers = new Headers({ accept: "application/json" });
  if (used !== "") headers.set("authorization", `Bearer ${used}`);
  if (body !== undefined) headers.set("content-type", "application/json");
  const search = new URLSearchParams(query).toString();
  let answer: Response;
  try {
    answer = await fetch(search === "" ? path : `${path}?${search}`, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ?? null,
      // For a proxy in front that has a session of its own; the server itself looks at no cookie.
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
    });
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw toApiError(error);
  }
  if (answer.ok) return answer;
  const problem = problemOf(answer.status, await answer.text().catch(() => ""), answer.headers.get("retry-after"));
  // A token that was replaced in the meantime says nothing of the new one.
  if (answer.status === 401 && token.peek() === used) signInNeeded.value = true;
  throw problem;
}

/** Sends a request; gives the JSON of its answer. Throws ApiError. */
export async function request<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
  const answer = await open(method, path, options);
  try {
    return (await answer.json()) as T;
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    throw new ApiError("The server's answer was cut off or is no JSON", 0);
  }
}
