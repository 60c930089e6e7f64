/** Registries that are Go modules: built once per version, into the user's cache, and run for a test. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { access, mkdir, rename } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "./ports.ts";
import { tool } from "./tools.ts";

export interface GoRegistry {
  readonly name: string;
  /** Package and version, as `go install` takes them. */
  readonly module: string;
  readonly binary: string;
}

export const distribution3: GoRegistry = {
  name: "distribution 3.1.1",
  module: "github.com/distribution/distribution/v3/cmd/registry@v3.1.1",
  binary: "registry",
};
export const goContainerRegistry: GoRegistry = {
  name: "go-containerregistry's registry",
  module: "github.com/google/go-containerregistry/cmd/registry@v0.22.1",
  binary: "registry",
};

/** Where the executable is; nothing, with the reason on stderr, where it can be neither found nor built. */
export async function goRegistryBinary({ name, module, binary }: GoRegistry): Promise<string | undefined> {
  const key = createHash("sha256").update(module).digest("hex").slice(0, 16);
  const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  const path = join(cache, "dvcr-data-plane", key, binary);
  if (await exists(path)) return path;
  // Minutes of both cores: asked for, not done by the way.
  if (process.env["DVCR_TEST_GO"] !== "1") {
    skipped(name, "it is not built yet: run once with DVCR_TEST_GO=1");
    return undefined;
  }
  const directory = join(cache, "dvcr-data-plane", `${key}.${String(process.pid)}`);
  await mkdir(directory, { recursive: true });
  try {
    await tool("env", `GOBIN=${directory}`, "go", "install", module);
  } catch (error) {
    skipped(name, `go install failed: ${String(error).slice(0, 300)}`);
    return undefined;
  }
  await rename(directory, join(cache, "dvcr-data-plane", key)).catch(() => undefined);
  return path;
}

/** Runs go-containerregistry's registry, which keeps everything in memory. */
export async function startInMemoryRegistry(path: string): Promise<{ readonly host: string } & AsyncDisposable> {
  const port = await freePort();
  const child = spawn(path, ["-port", String(port)], { stdio: "ignore" });
  const host = `127.0.0.1:${String(port)}`;
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  for (let tries = 0; tries < 200; tries++) {
    const answers = await fetch(`http://${host}/v2/`).then(
      () => true,
      () => false,
    );
    if (answers) break;
    await delay(50);
  }
  return {
    host,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function skipped(name: string, reason: string): void {
  process.stderr.write(`tests against ${name} are skipped: ${reason}\n`);
}
