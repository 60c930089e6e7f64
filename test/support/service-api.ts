/** The API plugin over a real store on a port of its own, and kubectl talking to it. */
import fastify, { type FastifyInstance, type LightMyRequestResponse } from "fastify";
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createLogger } from "../../src/log/logger.ts";
import { kubeconfig } from "../../src/service/api/kubeconfig.ts";
import { apiRoutes, type ApiDeps } from "../../src/service/api/routes.ts";
import type { ImageObject, ImageStatus } from "../../src/service/model/image.ts";
import type { ResourceName } from "../../src/service/model/object.ts";
import { authorize, localAdmin, type User } from "../../src/service/security/authorize.ts";
import { DataDirectory } from "../../src/service/store/data-directory.ts";
import { SqliteStore } from "../../src/service/store/sqlite-store.ts";
import type { SqliteStoreOptions } from "../../src/service/store/store-options.ts";

export type Json = Record<string, unknown>;

export interface TestApi extends AsyncDisposable {
  readonly app: FastifyInstance;
  readonly store: SqliteStore;
  readonly directory: string;
  /** Lines that the server logged. */
  readonly log: string[];
  /** One request by this user; the administrator where none is named. */
  request(
    method: string,
    url: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
    user?: User,
  ): Promise<LightMyRequestResponse>;
  /** Its base URL; listens on a port of its own from the first call on. */
  listen(): Promise<string>;
  /** What the reconciler would write. */
  setStatus(
    resource: "clustervirtualimages" | "virtualimages",
    name: string,
    status: ImageStatus,
    namespace?: string,
  ): Promise<void>;
}

export async function startApi(
  options: Partial<SqliteStoreOptions> = {},
  limits: Pick<ApiDeps, "shares"> = {},
): Promise<TestApi> {
  const directory = await mkdtemp(join(tmpdir(), "dvcr-api-"));
  const data = await DataDirectory.acquire(join(directory, "data"));
  const store = await SqliteStore.open(data, {
    onError: (error) => {
      throw error;
    },
    ...options,
  });
  const log: string[] = [];
  const app = fastify({ forceCloseConnections: true, routerOptions: { maxParamLength: 300 } });
  const users = new Map<string, User>();
  app.addHook("onRequest", (request, _reply, done) => {
    const name = request.headers["x-test-user"];
    request.user = typeof name === "string" ? users.get(name)! : localAdmin;
    done();
  });
  await app.register(
    apiRoutes({
      ...limits,
      store,
      authorize,
      isCurrent: () => Promise.resolve(true),
      log: createLogger({ output: { write: (line: string) => log.push(line) } }),
    }),
  );
  let listening: Promise<string> | undefined;
  return {
    app,
    store,
    directory,
    log,
    listen: () => (listening ??= app.listen({ host: "127.0.0.1", port: 0 })),
    request: (method, url, body, headers = {}, user) => {
      if (user !== undefined) users.set(user.name, user);
      return app.inject({
        method: method as "GET",
        url,
        headers: {
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...(user === undefined ? {} : { "x-test-user": user.name }),
          ...headers,
        },
        ...(body === undefined ? {} : { payload: typeof body === "string" ? body : JSON.stringify(body) }),
      });
    },
    setStatus: async (resource: ResourceName, name, status, namespace = "") => {
      const image = (await store.get<ImageObject>({ resource, namespace, name }))!;
      await store.update<ImageObject>(resource, { ...image, status });
    },
    [Symbol.asyncDispose]: async () => {
      await app.close();
      await store.close();
      await data.release();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** The manual's manifest of an HTTP image; `extra` follows its spec. */
export const manifest = (
  name: string,
  { url = "https://example.com/ubuntu.img", kind = "ClusterVirtualImage", extra = "" } = {},
): string => `apiVersion: virtualization.deckhouse.io/v1alpha2
kind: ${kind}
metadata:
  name: ${name}
spec:
  dataSource:
    type: HTTP
    http:
      url: ${url}
${extra}`;

/** The cells of a line of kubectl's, where none is empty. */
export const columnsOf = (line: string): string[] => line.trim().split(/\s{2,}/);

export interface KubectlResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** kubectl with a configuration of its own that names the server. */
export class Kubectl {
  readonly #program: string;
  readonly #config: string;
  readonly #home: string;

  private constructor(program: string, config: string, home: string) {
    this.#program = program;
    this.#config = config;
    this.#home = home;
  }

  /**
   * Listens with `api` and makes a kubectl for it: that of DVCR_TEST_KUBECTL, or the one in the PATH. Throws where
   * there is none.
   */
  static async for(api: TestApi, program?: string): Promise<Kubectl> {
    return await Kubectl.at(await api.listen(), api.directory, program);
  }

  /** The same for a server that listens at this URL; keeps its files in `directory`. */
  static async at(
    server: string,
    directory: string,
    program = process.env["DVCR_TEST_KUBECTL"] ?? "kubectl",
  ): Promise<Kubectl> {
    await requireKubectl(program);
    const config = join(directory, "kubeconfig");
    await writeFile(config, kubeconfig({ server }));
    return new Kubectl(program, config, directory);
  }

  get #environment(): NodeJS.ProcessEnv {
    return { ...process.env, KUBECONFIG: this.#config, HOME: this.#home };
  }

  /** Runs it to its end; `input` is its standard input. */
  run(args: readonly string[], input = "", environment: Readonly<Record<string, string>> = {}): Promise<KubectlResult> {
    return new Promise((resolve) => {
      const child = execFile(
        this.#program,
        args,
        { env: { ...this.#environment, ...environment }, maxBuffer: 1 << 26 },
        (error, stdout, stderr) => {
          resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : 1, stdout, stderr });
        },
      );
      child.stdin!.on("error", () => undefined).end(input);
    });
  }

  /** As run(), for what must succeed; its standard output. */
  async ok(args: readonly string[], input = "", environment: Readonly<Record<string, string>> = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, input, environment);
    if (code !== 0) throw new Error(`kubectl ${args.join(" ")} ended with ${code}: ${stderr}`);
    return stdout;
  }

  /** As run(), for what must fail; its standard error. */
  async fails(args: readonly string[], input = ""): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, input);
    if (code === 0) throw new Error(`kubectl ${args.join(" ")} succeeded: ${stdout}`);
    return stderr;
  }

  /** Starts one that goes on; its output so far is what `text()` gives, its exit code what `ended` does. */
  start(args: readonly string[]): {
    readonly child: ChildProcess;
    readonly ended: Promise<number | null>;
    text(): string;
  } {
    const child = spawn(this.#program, args, { env: this.#environment, stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => (text += part));
    child.stderr.setEncoding("utf8").on("data", (part: string) => (text += part));
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    return { child, ended, text: () => text };
  }
}

async function requireKubectl(program: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    execFile(program, ["version", "--client"], (error) => {
      if (error === null) resolve();
      else
        reject(
          new Error(
            `${program} cannot be run (${error.message}); install Debian's package kubernetes-client, ` +
              "or name a kubectl in DVCR_TEST_KUBECTL",
          ),
        );
    });
  });
}
