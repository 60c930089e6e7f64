/** A real docker-registry for tests: its own storage, port and life, killed and started again at will. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { tool } from "./tools.ts";
import { freePort } from "./ports.ts";

export interface RegistryTestOptions {
  /** Asks for Basic credentials: testUser. */
  readonly auth?: boolean;
  /** A certificate of a CA of its own; see TestRegistry.certDirectory. */
  readonly tls?: boolean;
  /** Every write is refused with 405, as in DVCR's garbage collection. */
  readonly readonly?: boolean;
  /** Sends clients to a token service, whose certificate it trusts. */
  readonly token?: {
    readonly realm: string;
    readonly service: string;
    readonly issuer: string;
    readonly certificate: string;
  };
  readonly port?: number;
  /** The address to listen on, for clients in another network; 127.0.0.1 otherwise. */
  readonly address?: string;
  /** Another executable of the distribution project's. */
  readonly binary?: string;
  /** Where the storage is, for a file system of a given size; a temporary directory otherwise. */
  readonly storage?: string;
}

/** Debian's, or another one of the distribution project's releases. */
const registryBinary = process.env["DVCR_TEST_REGISTRY"] ?? "docker-registry";

/** True for a registry whose sessions outlive a PATCH that was cut, as those of distribution 3 do. */
export async function sessionsSurviveCuts(): Promise<boolean> {
  return !/\sv?2\./.test(await tool(registryBinary, "--version"));
}

/** Who may push where `auth` is set. */
export const testUser = { name: "tester", password: "registry-pw" };

export class TestRegistry implements AsyncDisposable {
  readonly port: number;
  /** `address:port`. */
  readonly host: string;
  readonly directory: string;
  readonly storage: string;
  readonly #options: RegistryTestOptions;
  #process: ChildProcess | undefined;

  private constructor(directory: string, port: number, options: RegistryTestOptions) {
    this.directory = directory;
    this.port = port;
    this.host = `${options.address ?? "127.0.0.1"}:${String(port)}`;
    this.storage = options.storage ?? join(directory, "storage");
    this.#options = options;
  }

  /** Use with `await using`, or call stop(). */
  static async start(options: RegistryTestOptions = {}): Promise<TestRegistry> {
    const directory = await mkdtemp(join(tmpdir(), "dvcr-registry-"));
    const registry = new TestRegistry(directory, options.port ?? (await freePort()), options);
    await mkdir(registry.storage, { recursive: true });
    if (options.tls === true) await makeCertificate(directory, options.address ?? "127.0.0.1");
    if (options.auth === true) await writeFile(join(directory, "htpasswd"), `${await htpasswdLine()}\n`);
    await registry.start(options.readonly ?? false);
    return registry;
  }

  /** Directory in certs.d form that trusts this registry. */
  get certDirectory(): string {
    return join(this.directory, "certs");
  }

  /** Starts the process on the same port and storage; waits until it answers. */
  async start(readonly = false): Promise<void> {
    const config = join(this.directory, "config.yml");
    await writeFile(config, JSON.stringify(this.#config(readonly)));
    const child = spawn(this.#options.binary ?? registryBinary, ["serve", config], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let log = "";
    child.stderr.on("data", (data: Buffer) => (log = (log + data.toString()).slice(-4000)));
    let failure: Error | undefined;
    child.on("error", (error) => (failure = error));
    this.#process = child;
    for (let tries = 0; tries < 400; tries++) {
      if (failure !== undefined)
        throw new Error(`${registryBinary} (Debian package docker-registry) cannot be run: ${failure.message}`);
      if (child.exitCode !== null) throw new Error(`${registryBinary} ended at once:\n${log}`);
      if (await this.#answers()) return;
      await delay(25);
    }
    throw new Error(`docker-registry does not answer on ${this.host}:\n${log}`);
  }

  /** SIGKILL: nothing is flushed, no connection is closed in order. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  async restart(readonly = false): Promise<void> {
    await this.kill();
    await this.start(readonly);
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.directory, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Upload sessions that a repository still has. 2.8 leaves an empty hash state of a deleted one, which is none. */
  async sessions(repository: string): Promise<string[]> {
    const uploads = join(this.storage, "docker/registry/v2/repositories", repository, "_uploads");
    const found: string[] = [];
    for (const id of await list(uploads)) {
      if ((await list(join(uploads, id))).some((name) => name === "data" || name === "startedat")) found.push(id);
    }
    return found;
  }

  /** Bytes in the largest unfinished upload of a repository. */
  async uploadedBytes(repository: string): Promise<number> {
    const uploads = join(this.storage, "docker/registry/v2/repositories", repository, "_uploads");
    const sizes = (await list(uploads)).map((id) =>
      stat(join(uploads, id, "data")).then(
        ({ size }) => size,
        () => 0,
      ),
    );
    return Math.max(0, ...(await Promise.all(sizes)));
  }

  /** Tags of a repository, from disk: also when the process does not run. */
  async tags(repository: string): Promise<string[]> {
    return list(join(this.storage, "docker/registry/v2/repositories", repository, "_manifests/tags"));
  }

  /** All that a repository shows or holds, from disk: after a refusal every list is empty. */
  async content(
    repository: string,
  ): Promise<{ tags: string[]; manifests: string[]; layers: string[]; sessions: string[] }> {
    const at = join(this.storage, "docker/registry/v2/repositories", repository);
    return {
      tags: await this.tags(repository),
      manifests: await list(join(at, "_manifests/revisions/sha256")),
      layers: await list(join(at, "_layers/sha256")),
      sessions: await this.sessions(repository),
    };
  }

  async #answers(): Promise<boolean> {
    const flags = ["-s", "-k", "-o", "/dev/null", "--max-time", "2"];
    return tool("curl", ...flags, `${this.#options.tls === true ? "https" : "http"}://${this.host}/v2/`).then(
      () => true,
      () => false,
    );
  }

  #config(readonly: boolean): unknown {
    const { auth, tls, token } = this.#options;
    return {
      version: 0.1,
      log: { accesslog: { disabled: true }, level: "error" },
      storage: {
        filesystem: { rootdirectory: this.storage },
        delete: { enabled: true },
        cache: { blobdescriptor: "inmemory" },
        maintenance: { uploadpurging: { enabled: false }, readonly: { enabled: readonly } },
      },
      http: {
        addr: this.host,
        // Fixed, as DVCR's is: upload sessions outlive the process.
        secret: "a secret of the tests",
        ...(tls === true
          ? { tls: { certificate: join(this.directory, "tls.crt"), key: join(this.directory, "tls.key") } }
          : {}),
      },
      ...(auth === true ? { auth: { htpasswd: { realm: "test", path: join(this.directory, "htpasswd") } } } : {}),
      ...(token === undefined
        ? {}
        : {
            auth: {
              token: {
                realm: token.realm,
                service: token.service,
                issuer: token.issuer,
                rootcertbundle: token.certificate,
              },
            },
          }),
    };
  }
}

export function startRegistry(options: RegistryTestOptions = {}): Promise<TestRegistry> {
  return TestRegistry.start(options);
}

/** bcrypt by libcrypt, which Debian's perl reaches without a package more. */
async function htpasswdLine(): Promise<string> {
  const hash = await tool(
    "perl",
    "-e",
    `print crypt($ARGV[0], '$2y$05$' . 'N9qo8uLOickgx2ZMRZoMye')`,
    testUser.password,
  );
  return `${testUser.name}:${hash}`;
}

async function makeCertificate(directory: string, address: string): Promise<void> {
  const at = (name: string) => join(directory, name);
  const newKey = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  await mkdir(at("certs"));
  await tool(
    "openssl",
    ...newKey,
    "-x509",
    "-days",
    "2",
    "-subj",
    "/CN=test CA",
    "-keyout",
    at("ca.key"),
    "-out",
    at("certs/ca.crt"),
  );
  await tool("openssl", ...newKey, "-subj", "/CN=registry", "-keyout", at("tls.key"), "-out", at("tls.csr"));
  await writeFile(at("extensions"), `subjectAltName=IP:${address},DNS:localhost\n`);
  const sign = [
    "x509",
    "-req",
    "-days",
    "2",
    "-in",
    at("tls.csr"),
    "-CA",
    at("certs/ca.crt"),
    "-CAkey",
    at("ca.key"),
    "-CAcreateserial",
  ];
  await tool("openssl", ...sign, "-extfile", at("extensions"), "-out", at("tls.crt"));
}

async function list(directory: string): Promise<string[]> {
  return (await readdir(directory).catch(() => [])).sort();
}
