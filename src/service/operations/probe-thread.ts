/**
 * Probes on a port and a thread of their own: they are answered in time whatever keeps the event loop, and say what it
 * is like. The event loop leaves a stamp at every turn, tells when readiness changes, and brings metrics when it is
 * asked.
 */
import { Worker } from "node:worker_threads";
import { DvcrError } from "../../errors/dvcr-error.ts";

export interface ProbeThreadData {
  readonly host: string;
  readonly port: number;
  /** Eight bytes: nanoseconds of the monotonic clock at the last turn of the event loop. */
  readonly heartbeat: SharedArrayBuffer;
}

export type ToProbes =
  | { readonly notReady: string | undefined }
  | { readonly metricsTokens: readonly string[] | undefined }
  | { readonly metrics: string }
  | { readonly close: true };

export type FromProbes = { readonly port: number } | { readonly failed: string } | { readonly wants: "metrics" };

export interface ProbeSources {
  /** Why the service is not ready, or nothing. */
  readonly notReady: () => string | undefined;
  /** In the Prometheus text format. */
  readonly metrics: () => Promise<string>;
  /** SHA-256 of the tokens that may read them; undefined: no token is needed. */
  readonly metricsTokens: () => readonly string[] | undefined;
  readonly onError: (error: unknown) => void;
}

const beatMilliseconds = 250;
const tellMilliseconds = 1000;

export class ProbeThread {
  readonly port: number;
  readonly #worker: Worker;
  readonly #timers: NodeJS.Timeout[] = [];
  #sources: ProbeSources | undefined;
  #told: string | undefined = "starting";
  #tokensTold = "";

  private constructor(worker: Worker, port: number, lastTurn: BigInt64Array) {
    this.#worker = worker;
    this.port = port;
    this.#timers.push(setInterval(() => Atomics.store(lastTurn, 0, process.hrtime.bigint()), beatMilliseconds).unref());
    worker.on("message", (message: FromProbes) => {
      if ("wants" in message) void this.#bringMetrics();
    });
  }

  /** Listens. Until serve() is called it says "starting". @throws DvcrError E_CONFIG where the port cannot be had. */
  static async start(listen: { readonly host: string; readonly port: number }): Promise<ProbeThread> {
    const heartbeat = new SharedArrayBuffer(8);
    const lastTurn = new BigInt64Array(heartbeat);
    Atomics.store(lastTurn, 0, process.hrtime.bigint());
    const workerData: ProbeThreadData = { ...listen, heartbeat };
    const worker = new Worker(new URL("./probe-worker.js", import.meta.url), { workerData, name: "probes" });
    const port = await new Promise<number>((resolve, reject) => {
      worker.once("error", reject).once("message", (message: FromProbes) => {
        if ("port" in message) resolve(message.port);
        else reject(new Error("failed" in message ? message.failed : "no port"));
      });
    }).catch(async (error: unknown) => {
      await worker.terminate();
      const expected = `expected a free port on ${listen.host} (${(error as Error).message})`;
      throw new DvcrError("E_CONFIG", `probeListen: got ${String(listen.port)}, ${expected}`, { cause: error });
    });
    worker.unref();
    return new ProbeThread(worker, port, lastTurn);
  }

  /** What it says from now on. */
  serve(sources: ProbeSources): void {
    this.#sources = sources;
    this.#worker.on("error", sources.onError);
    void this.#bringMetrics();
    this.tell();
    this.#timers.push(
      setInterval(() => {
        this.tell();
      }, tellMilliseconds).unref(),
    );
  }

  /** Hands on what has changed; called by itself every second. */
  tell(): void {
    if (this.#sources === undefined) return;
    const notReady = this.#sources.notReady();
    if (notReady !== this.#told) this.#post({ notReady });
    this.#told = notReady;
    const metricsTokens = this.#sources.metricsTokens();
    const tokens = metricsTokens?.join() ?? "none needed";
    if (tokens !== this.#tokensTold) this.#post({ metricsTokens });
    this.#tokensTold = tokens;
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#post({ close: true });
    await this.#worker.terminate();
  }

  async #bringMetrics(): Promise<void> {
    try {
      this.#post({ metrics: (await this.#sources?.metrics()) ?? "" });
    } catch (error) {
      this.#sources?.onError(error);
    }
  }

  #post(message: ToProbes): void {
    this.#worker.postMessage(message);
  }
}
