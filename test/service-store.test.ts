import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import type { SecretObject } from "../src/service/model/image.ts";
import type { Draft, KubeObject } from "../src/service/model/object.ts";
import { DataDirectory } from "../src/service/store/data-directory.ts";
import { SqliteStore } from "../src/service/store/sqlite-store.ts";
import type { SqliteStoreOptions } from "../src/service/store/store-options.ts";
import { nodeOf, otherNodes } from "./support/nodes.ts";
import { imageDraft, imageKey, storeContract } from "./support/service-store-contract.ts";
import { tool } from "./support/tools.ts";

const writer = fileURLToPath(new URL("support/service-store-writer.mjs", import.meta.url));
const cvi = "clustervirtualimages";

async function openStore(path: string, options: Partial<SqliteStoreOptions> = {}) {
  const directory = await DataDirectory.acquire(path);
  const errors: unknown[] = [];
  const store = await SqliteStore.open(directory, { onError: (error) => errors.push(error), ...options }).catch(
    async (error: unknown) => {
      await directory.release();
      throw error;
    },
  );
  return {
    store,
    errors,
    close: async () => {
      await store.close();
      await directory.release();
    },
  };
}

storeContract("SQLite", async () => {
  const path = await mkdtemp(join(tmpdir(), "dvcr-store-"));
  let opened = await openStore(path);
  return {
    store: opened.store,
    restart: async () => {
      await opened.close();
      opened = await openStore(path);
      return opened.store;
    },
    cleanUp: async () => {
      expect(opened.errors).toEqual([]);
      await opened.close();
      await rm(path, { recursive: true });
    },
  };
});

describe("the SQLite store", () => {
  let path: string;
  let opened: Awaited<ReturnType<typeof openStore>>;

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), "dvcr-store-"));
    opened = await openStore(path);
  });
  afterEach(async () => {
    await opened.close();
    await rm(path, { recursive: true });
  });

  const reopen = async (options: Partial<SqliteStoreOptions> = {}) => {
    await opened.close();
    opened = await openStore(path, options);
  };

  it("keeps secrets sealed, and every file readable by its owner only", async () => {
    const password = "correct-horse-battery";
    const secret: Draft<SecretObject> = {
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/dockerconfigjson",
      metadata: { name: "pull", namespace: "a" },
      data: { ".dockerconfigjson": password },
    };
    const made = await opened.store.create<SecretObject>("secrets", secret);
    await opened.store.update<SecretObject>("secrets", { ...made, data: { ".dockerconfigjson": `${password}2` } });
    const files = (await readdir(path)).filter((name) => name !== "resources.db.lock");
    expect(files).toEqual(expect.arrayContaining(["control.sock", "resources.db", "resources.db-wal", "secrets.key"]));
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    for (const name of files) expect([name, (await stat(join(path, name))).mode & 0o777]).toEqual([name, 0o600]);
    for (const name of files.filter((one) => one.startsWith("resources")))
      expect((await readFile(join(path, name))).includes(password)).toBe(false);
    await reopen();
    expect(await opened.store.get({ resource: "secrets", namespace: "a", name: "pull" })).toMatchObject({
      data: { ".dockerconfigjson": `${password}2` },
    });
    expect((await readFile(join(path, "resources.db"))).includes(password)).toBe(false);
    await writeFile(join(path, "secrets.key"), Buffer.alloc(32, 1));
    await reopen();
    await expect(opened.store.get({ resource: "secrets", namespace: "a", name: "pull" })).rejects.toMatchObject({
      code: "E_STORE_IO",
    });
  });

  it("serves one process at a time, and says so", async () => {
    await expect(DataDirectory.acquire(path)).rejects.toMatchObject({ code: "E_DATA_DIR_IN_USE" });
    const child = spawn(process.execPath, [writer, path, "x"], { stdio: ["ignore", "ignore", "pipe"] });
    let text = "";
    child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
    const [code] = (await once(child, "close")) as [number];
    expect([code, text]).toEqual([1, expect.stringContaining("E_DATA_DIR_IN_USE")]);
  });

  it("takes a directory whose path is longer than a socket's address", async () => {
    const deep = join(path, "d".repeat(100), "e".repeat(100));
    const other = await openStore(deep);
    await expect(DataDirectory.acquire(deep)).rejects.toMatchObject({ code: "E_DATA_DIR_IN_USE" });
    await other.close();
  });

  it("forgets old changes, and says so to who asks for them", async () => {
    let now = Date.UTC(2026, 0, 1);
    await reopen({ now: () => now, keptChanges: 10 });
    for (let index = 0; index < 15; index++) await opened.store.create(cvi, imageDraft(`a${index}`));
    const list = await opened.store.list(cvi, { limit: 2 });
    opened.store.sweep();
    expect(() => opened.store.watch(cvi, { since: "4" }, () => {})).toThrow(
      expect.objectContaining({ code: "E_VERSION_EXPIRED" }),
    );
    opened.store.watch(cvi, { since: "5" }, () => {})();
    now += 3_600_001;
    await opened.store.create(cvi, imageDraft("new"));
    opened.store.sweep();
    expect(() => opened.store.watch(cvi, { since: "14" }, () => {})).toThrow(
      expect.objectContaining({ code: "E_VERSION_EXPIRED" }),
    );
    opened.store.watch(cvi, { since: "15" }, () => {})();
    await expect(opened.store.list(cvi, { limit: 2, continue: list.continue! })).resolves.toMatchObject({
      resourceVersion: "15",
    });
    now += 3_600_001;
    opened.store.sweep();
    await expect(opened.store.list(cvi, { limit: 2, continue: list.continue! })).rejects.toMatchObject({
      code: "E_VERSION_EXPIRED",
    });
  });

  it("lets events go an hour after their last change", async () => {
    let now = Date.UTC(2026, 0, 1);
    await reopen({ now: () => now });
    const event = { apiVersion: "v1", kind: "Event", metadata: { name: "a.1", namespace: "default" }, count: 1 };
    const made = await opened.store.create<KubeObject>("events", event);
    now += 1_800_000;
    await opened.store.update<KubeObject>("events", { ...made, count: 2 } as KubeObject);
    const seen: string[] = [];
    opened.store.watch("events", {}, ({ type }) => seen.push(type));
    now += 3_599_999;
    opened.store.sweep();
    expect((await opened.store.list("events")).items).toHaveLength(1);
    now += 1;
    opened.store.sweep();
    expect((await opened.store.list("events")).items).toEqual([]);
    expect(seen).toEqual(["DELETED"]);
  });

  it("goes on where one watcher throws", async () => {
    const seen: string[] = [];
    opened.store.watch(cvi, {}, () => {
      throw new Error("bad watcher");
    });
    opened.store.watch(cvi, {}, ({ object }) => seen.push(object.metadata.name));
    await opened.store.create(cvi, imageDraft("a"));
    expect(seen).toEqual(["a"]);
    expect(opened.errors).toHaveLength(1);
  });

  it("does not acknowledge what another program's checkpoint would lose", async () => {
    await opened.store.create(cvi, imageDraft("a"));
    expect((await tool("sqlite3", join(path, "resources.db"), "SELECT name FROM objects")).trim()).toBe("a");
    await expect(opened.store.create(cvi, imageDraft("b"))).rejects.toMatchObject({ code: "E_STORE_IO" });
    await reopen();
    expect(await opened.store.get(imageKey("a"))).toBeDefined();
  });

  it("refuses a database of a newer version", async () => {
    await opened.close();
    const ours = await tool("sqlite3", join(path, "resources.db"), "PRAGMA user_version");
    await tool("sqlite3", join(path, "resources.db"), "PRAGMA user_version = 99");
    await expect(openStore(path)).rejects.toMatchObject({
      code: "E_STORE_IO",
      message: expect.stringContaining("99") as string,
    });
    await tool("sqlite3", join(path, "resources.db"), `PRAGMA user_version = ${ours}`);
    opened = await openStore(path);
  });
});

describe("a writer that is killed at any moment", () => {
  it.each([process.version, ...otherNodes])("loses nothing that it acknowledged (Node %s)", async (version) => {
    const node = version === process.version ? process.execPath : await nodeOf(version);
    const rounds = version === process.version ? 10 : 3;
    const path = await mkdtemp(join(tmpdir(), "dvcr-store-"));
    try {
      const acknowledged = new Map<string, string>();
      for (let round = 0; round < rounds; round++) {
        // Killed when it has acknowledged so many: another place each time, and mid-write in the next transaction.
        for (const line of await writeUntilKilled(node, path, `r${round}`, 1 + ((round * 37) % 90))) {
          const [name, resourceVersion] = line.split(" ");
          acknowledged.set(name!, resourceVersion!);
        }
      }
      const { store, close } = await openStore(path);
      const stored = new Map(
        (await store.list(cvi)).items.map(({ metadata }) => [metadata.name, Number(metadata.resourceVersion)]),
      );
      await close();
      expect(acknowledged.size).toBeGreaterThan(rounds);
      for (const [name, version] of acknowledged)
        expect(stored.get(name), name).toBeGreaterThanOrEqual(Number(version));
    } finally {
      await rm(path, { recursive: true });
    }
  });
});

async function writeUntilKilled(node: string, path: string, prefix: string, lines: number): Promise<string[]> {
  const child = spawn(node, [writer, path, prefix], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  for await (const chunk of child.stdout) {
    text += String(chunk);
    if (text.split("\n").length > lines) child.kill("SIGKILL");
  }
  return text.split("\n").slice(0, -1);
}
