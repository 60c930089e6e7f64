/** Requests to the API of `dvcr serve`, for the commands that stand in for kubectl. */
import { readFile } from "node:fs/promises";
import { Agent, request, type Dispatcher } from "undici";

import { DvcrError } from "../../errors/dvcr-error.ts";
import type { ErrorCode } from "../../errors/catalogue.ts";
import "../../outbound/paused-end.ts";
import { networkCode } from "../../retry/failure.ts";

export interface ServiceAccess {
  /** Base URL. */
  readonly server: string;
  readonly token?: string | undefined;
  /** File of CAs that are trusted beside the system's. */
  readonly caFile?: string | undefined;
}

/** A Status of the API (Kubernetes API conventions, "Response Status Kind"). */
interface Status {
  readonly reason?: string;
  readonly message?: string;
}

const codes: Readonly<Record<string, ErrorCode>> = {
  NotFound: "E_OBJECT_NOT_FOUND",
  AlreadyExists: "E_OBJECT_EXISTS",
  Conflict: "E_OBJECT_CONFLICT",
  Invalid: "E_OBJECT_INVALID",
  BadRequest: "E_OBJECT_INVALID",
  Expired: "E_VERSION_EXPIRED",
  Unauthorized: "E_UNAUTHENTICATED",
  Forbidden: "E_NOT_ALLOWED",
  TooManyRequests: "E_TOO_MANY",
};

export interface ApiRequest {
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly body?: string;
  readonly contentType?: string;
  readonly accept?: string;
}

export class ServiceClient {
  readonly server: URL;
  readonly #token: string | undefined;
  readonly #agent: Agent;
  readonly #signal: AbortSignal;

  private constructor(server: URL, token: string | undefined, agent: Agent, signal: AbortSignal) {
    this.server = server;
    this.#token = token;
    this.#agent = agent;
    this.#signal = signal;
  }

  /** @throws DvcrError E_USAGE for a server that is no http(s) URL, or a CA file that cannot be read. */
  static async open({ server, token, caFile }: ServiceAccess, signal: AbortSignal): Promise<ServiceClient> {
    const url = serverUrl(server);
    const ca = caFile === undefined ? undefined : await readFlagFile("--ca", caFile);
    return new ServiceClient(url, token, new Agent(ca === undefined ? {} : { connect: { ca } }), signal);
  }

  /** For requests to other paths of the same server, such as uploads. */
  get dispatcher(): Dispatcher {
    return this.#agent;
  }

  /** The answer as JSON. @throws DvcrError by the Status that came, E_SERVICE_UNREACHABLE. */
  async json<T>(path: string, options: ApiRequest = {}): Promise<T> {
    const body = await this.#send(path, options);
    return JSON.parse(await body.text()) as T;
  }

  /** The lines of a watch, each parsed, until the server or the caller ends it. */
  async *watch<T>(path: string, options: ApiRequest = {}): AsyncGenerator<T> {
    const body = await this.#send(path, options);
    let rest = "";
    for await (const chunk of body.setEncoding("utf8") as AsyncIterable<string>) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line !== "") yield JSON.parse(line) as T;
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #send(
    path: string,
    { method = "GET", body, contentType = "application/json", accept = "application/json" }: ApiRequest,
  ): Promise<Dispatcher.ResponseData["body"]> {
    let answer: Dispatcher.ResponseData;
    try {
      answer = await request(new URL(path, this.server), {
        dispatcher: this.#agent,
        method,
        signal: this.#signal,
        bodyTimeout: 0,
        headers: {
          accept,
          ...(body === undefined ? {} : { "content-type": contentType }),
          ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
        },
        ...(body === undefined ? {} : { body }),
      });
    } catch (error) {
      if (this.#signal.aborted) throw this.#signal.reason;
      throw new DvcrError(
        "E_SERVICE_UNREACHABLE",
        `${this.server.origin} does not answer (${networkCode(error) ?? "unknown error"})`,
        { cause: error },
      );
    }
    if (answer.statusCode < 400) return answer.body;
    throw refusal(answer.statusCode, await answer.body.text());
  }
}

function refusal(statusCode: number, text: string): DvcrError {
  let status: Status = {};
  try {
    status = JSON.parse(text) as Status;
  } catch {
    // Whatever it is, it is not of the API.
  }
  const code = codes[status.reason ?? ""] ?? (statusCode >= 500 ? "E_SERVICE_UNREACHABLE" : "E_BAD_REQUEST");
  return new DvcrError(code, status.message ?? `the server answers ${String(statusCode)}`);
}

/** @throws DvcrError E_USAGE for what is no http(s) URL. */
export function serverUrl(server: string): URL {
  if (URL.canParse(server) && /^https?:$/.test(new URL(server).protocol)) return new URL(server);
  throw new DvcrError(
    "E_USAGE",
    `--server: got ${JSON.stringify(server)}, expected http://HOST:PORT or https://HOST:PORT`,
  );
}

/** The text of a file that a flag names. @throws DvcrError E_USAGE where it cannot be read. */
export async function readFlagFile(flag: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new DvcrError("E_USAGE", `${flag}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? ""})`);
  }
}
