/** `dvcr serve` on a small disk that fills: what frees space goes on, what takes space says why it does not. */
import { execFileSync } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { appendFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import type { ImageObject } from "../src/service/model/image.ts";
import { randomBytes } from "node:crypto";
import { Origin } from "./support/origin.ts";
import { dvcr } from "./support/cli.ts";
import { eventually } from "./support/pod.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { imageDraft } from "./support/service-store-contract.ts";

const collection = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";
const mayMount = process.getuid?.() === 0 && tryMount();

let disk: string;
let data: string;

function tryMount(): boolean {
  try {
    execFileSync("unshare", ["--mount", "mount", "-t", "tmpfs", "none", "/mnt"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

if (!mayMount) console.warn("SKIPPED: the tests of a full disk mount a small one, which this user may not");

describe.skipIf(!mayMount)("a disk of 64 MiB", () => {
  beforeEach(async () => {
    disk = await mkdtemp(join(tmpdir(), "dvcr-full-"));
    data = join(disk, "data");
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64m", "none", disk]);
  });
  afterEach(async () => {
    execFileSync("umount", ["--lazy", disk]);
    await rm(disk, { recursive: true, force: true });
  });

  const filler = () => join(disk, "filler");
  /** Takes what there is, to the last block. */
  function fill(): void {
    for (const size of [1 << 20, 4096]) {
      try {
        for (;;) appendFileSync(filler(), Buffer.alloc(size, 1));
      } catch (error) {
        expect(error).toMatchObject({ code: "ENOSPC" });
      }
    }
  }
  const blobs = () => readdir(join(data, "images/blobs/sha256"));

  async function withImage(server: ServeProcess): Promise<void> {
    await using origin = await Origin.start(randomBytes(12 << 20));
    await server.json(collection, "POST", imageDraft("one", { url: origin.url }));
    await eventually(async () => (await phase(server)) === "Ready");
  }
  const phase = async (server: ServeProcess) => (await server.json<ImageObject>(`${collection}/one`)).status?.phase;
  const create = (server: ServeProcess, name: string) =>
    fetch(`${server.url}${collection}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(imageDraft(name)),
    });
  const status = async (server: ServeProcess, path: string) => (await fetch(`${server.url}${path}`)).status;

  it(
    "that others fill: deleting works, creating is a 507 that says why, and all is well once " + "there is room",
    async () => {
      await using server = await ServeProcess.on(data);
      await withImage(server);
      fill();
      const refused = await create(server, "no");
      // What was refused has left the reserve alone, so that whoever fills the disk does not get it.
      fill();
      expect([refused.status, await refused.json()]).toEqual([
        507,
        expect.objectContaining({ kind: "Status", reason: "InsufficientStorage" }),
      ]);
      const ready = await fetch(`${server.url}/readyz`);
      expect([ready.status, await ready.text()]).toEqual([
        503,
        expect.stringMatching(/^E_STORE_FULL: .*Delete images or run `dvcr gc run`/),
      ]);
      expect(await status(server, "/healthz")).toBe(200);
      expect(await status(server, `${collection}/one`)).toBe(200);
      await server.json(`${collection}/one`, "DELETE");
      await eventually(async () => (await status(server, `${collection}/one`)) === 404);
      await eventually(async () => (await blobs()).length === 0);
      rmSync(filler());
      await eventually(async () => (await status(server, "/readyz")) === 200);
      expect((await create(server, "two")).status).toBe(201);
      expect(await readdir(data)).toContain("reserve");
    },
  );

  it("that is full while no server runs is collected all the same", async () => {
    {
      await using server = await ServeProcess.on(data);
      await withImage(server);
    }
    await writeFile(join(data, "images/blobs/sha256", "d".repeat(64)), randomBytes(1 << 20));
    fill();
    const run = await dvcr(["gc", "run", "--yes", "--data-dir", data]);
    expect([run.code, run.stderr]).toEqual([0, ""]);
    expect(await blobs()).not.toContain("d".repeat(64));
    expect(await blobs()).toHaveLength(3);
  });

  it("imports fill no further than what deleting needs", async () => {
    await using server = await ServeProcess.on(data);
    await withImage(server);
    await using origin = await Origin.start(randomBytes(60 << 20));
    await server.json(collection, "POST", imageDraft("large", { url: origin.url }));
    const message = await eventually(async () => {
      const { status: found } = await server.json<ImageObject>(`${collection}/large`);
      return found?.conditions?.map((one) => one.message).find((text) => text.includes("E_PLACE_FULL"));
    });
    expect(message).toContain("E_PLACE_FULL");
    expect(await status(server, "/readyz")).toBe(200);
    for (const name of ["large", "one"]) await server.json(`${collection}/${name}`, "DELETE");
    await eventually(async () => (await blobs()).length === 0);
  });

  it("that is read-only is said so in a line, and nothing is changed", async () => {
    await (await ServeProcess.on(data)).stop();
    execFileSync("mount", ["-o", "remount,ro", disk]);
    const { code, stderr } = await dvcr(["serve", "--listen", "127.0.0.1:0", "--data-dir", data]);
    expect([code, stderr.trim().split("\n").at(-1)]).toEqual([
      1,
      expect.stringMatching(/^E_STORE_IO: .*(?:EROFS|read-only)/),
    ]);
    execFileSync("mount", ["-o", "remount,rw", disk]);
    await using server = await ServeProcess.on(data);
    expect(await status(server, "/readyz")).toBe(200);
    const second = await dvcr(["serve", "--listen", "127.0.0.1:0", "--data-dir", data]);
    expect([second.code, second.stderr]).toEqual([
      1,
      expect.stringContaining("E_DATA_DIR_IN_USE: another process uses"),
    ]);
    expect(await status(server, "/readyz")).toBe(200);
  });
});

it(
  "a database whose log was taken away while it runs: nothing more is accepted, and /readyz " + "says what to do",
  async () => {
    await using server = await ServeProcess.start();
    const post = (name: string) =>
      fetch(`${server.url}${collection}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(imageDraft(name)),
      });
    expect((await post("one")).status).toBe(201);
    rmSync(join(server.dataDirectory, "resources.db-wal"));
    expect((await post("two")).status).toBe(500);
    const ready = await fetch(`${server.url}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([
      503,
      expect.stringMatching(/^E_STORE_IO: another program has closed the database .*start this process again/),
    ]);
  },
);
