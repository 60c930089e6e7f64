/**
 * Garbage collection through the control socket of the data directory: whoever may open the directory may ask for it.
 */
import { request, type RequestListener, type ServerResponse } from "node:http";
import { DvcrError, toDvcrError } from "../../errors/dvcr-error.ts";
import { isErrorCode } from "../../errors/catalogue.ts";
import { withControlSocket } from "../store/data-directory.ts";
import type { GarbageCollector, GcResult, GcRunOptions } from "./collector.ts";
import type { GcReport } from "./inventory.ts";

const path = "/gc";
const forcedPath = `${path}?force`;

/** GET /gc checks, POST /gc runs, POST /gc?force runs without limits; answers in JSON. */
export function controlListener(collector: GarbageCollector): RequestListener {
  return (incoming, response) => {
    incoming.resume();
    const work = workFor(collector, incoming.method, incoming.url);
    if (work === undefined) answer(response, 404, { code: "E_NOT_FOUND", message: "there is nothing at this path" });
    else {
      work().then(
        (result) => answer(response, 200, result),
        (error: unknown) => {
          const { code, message } = toDvcrError(error);
          answer(response, 500, { code, message });
        },
      );
    }
  };
}

/**
 * Asks the process that holds the data directory. @throws DvcrError of that process, E_STORE_IO where it does not
 * answer.
 */
export function askServer(dataDirectory: string, what: "check"): Promise<GcReport>;
export function askServer(dataDirectory: string, what: "run", options?: GcRunOptions): Promise<GcResult>;
export function askServer(
  dataDirectory: string,
  what: "check" | "run",
  options: GcRunOptions = {},
): Promise<GcReport | GcResult> {
  const target = options.force === true ? forcedPath : path;
  return withControlSocket(dataDirectory, async (socketPath) => {
    const { status, text } = await exchange(socketPath, what === "check" ? "GET" : "POST", target).catch(
      (error: unknown) => {
        throw new DvcrError("E_STORE_IO", `the process that uses "${dataDirectory}" does not answer`, { cause: error });
      },
    );
    if (status === 503) throw new DvcrError("E_STORE_IO", `the process that uses "${dataDirectory}" is not ready`);
    const body = JSON.parse(text) as GcReport & GcResult & { readonly code?: string; readonly message?: string };
    if (status === 200) return body;
    throw new DvcrError(
      isErrorCode(body.code ?? "") ? (body.code as DvcrError["code"]) : "E_INTERNAL",
      body.message ?? `status ${status}`,
    );
  });
}

function workFor(
  collector: GarbageCollector,
  method: string | undefined,
  url: string | undefined,
): (() => Promise<unknown>) | undefined {
  if (url !== path && url !== forcedPath) return undefined;
  if (method === "GET") return () => collector.check();
  return method === "POST" ? () => collector.run({ force: url === forcedPath }) : undefined;
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function exchange(socketPath: string, method: string, target: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path: target, method, agent: false }, (incoming) => {
      const parts: Buffer[] = [];
      incoming.on("data", (part: Buffer) => parts.push(part));
      incoming.on("end", () =>
        resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(parts).toString("utf8") }),
      );
      incoming.on("error", reject);
    });
    outgoing.on("error", reject).end();
  });
}
