/** What is lost of a data directory is not taken for "nothing there": a clear line, nothing removed, and a way back. */
import { execFile } from "node:child_process";
import { cp, open, readdir, readFile, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from "vitest";

import type { ImageObject } from "../src/service/model/image.ts";
import { textBytes, textDisk } from "./support/disks.ts";
import { Origin } from "./support/origin.ts";
import { eventually } from "./support/pod.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { imageDraft } from "./support/service-store-contract.ts";
import { temporaryDirectory } from "./support/tools.ts";

const group = "/apis/virtualization.deckhouse.io/v1alpha2";
const collection = `${group}/clustervirtualimages`;
const inTeam = `${group}/namespaces/team-a/virtualimages`;

let work: Awaited<ReturnType<typeof temporaryDirectory>>;
/** A data directory with two images and a pull secret, made once by a real server. */
let made: string;
/** The same before the second image and the secret. */
let older: string;
let config: string;
let images: readonly ImageObject[];
/** This test's copy of it. */
let data: string;

beforeAll(async () => {
  work = await temporaryDirectory();
  [made, older] = [join(work.path, "made"), join(work.path, "older")];
  config = join(work.path, "serve.yaml");
  await writeFile(config, 'gcSchedule: "* * * * * *"\n');
  await using origin = await Origin.start(textDisk(1024 * 1024, 3));
  await using serve = await ServeProcess.start();
  const ready = (path: string) =>
    eventually(async () => {
      const image = await serve.json<ImageObject>(path);
      return image.status?.phase === "Ready" ? image : undefined;
    });
  await serve.json(collection, "POST", imageDraft("one", { url: origin.url }));
  const one = await ready(`${collection}/one`);
  await serve.stop();
  await cp(serve.dataDirectory, older, { recursive: true });
  await serve.startAgain();
  await serve.json(inTeam, "POST", imageDraft("two", { url: origin.url, namespace: "team-a" }));
  await serve.json("/api/v1/namespaces/team-a/secrets", "POST", {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "pull" },
    type: "kubernetes.io/dockerconfigjson",
    data: { ".dockerconfigjson": Buffer.from("{}").toString("base64") },
  });
  images = [one, await ready(`${inTeam}/two`)];
  await serve.stop();
  await cp(serve.dataDirectory, made, { recursive: true });
});
afterAll(() => work[Symbol.asyncDispose]());
beforeEach(async () => {
  data = join(work.path, "data");
  await cp(made, data, { recursive: true });
});
afterEach(() => rm(data, { recursive: true, force: true }));

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function dvcr(...args: string[]): Promise<Ended> {
  const file = fileURLToPath(new URL("../bin/dvcr", import.meta.url));
  return new Promise((resolve) => {
    execFile(file, [...args, "--data-dir", data, "--config", config], (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
  });
}

/** A server that would collect every second, were it to start. */
const serve = () => ServeProcess.on(data, "--config", config);
const blobs = async () => (await readdir(join(data, "images/blobs/sha256"))).sort();
const tags = async () =>
  (await readFile(join(data, "images/index.json"), "utf8")).match(/(?:cvi|vi)\/[^"]*/g)?.sort() ?? [];

async function refuses(code: string, text: RegExp): Promise<void> {
  const [blobsBefore, tagsBefore] = [await blobs(), await tags().catch(() => undefined)];
  for (const command of [
    ["serve", "--listen", "127.0.0.1:0"],
    ["gc", "run", "--yes", "--force"],
  ]) {
    const { code: exit, stderr } = await dvcr(...command);
    const line = stderr.trim().split("\n").at(-1)!;
    expect([exit, line]).toEqual([3, expect.stringMatching(new RegExp(`^${code}: `))]);
    expect(line).toMatch(text);
    expect(line).toMatch(/dvcr restore|backup/);
  }
  expect([await blobs(), await tags().catch(() => undefined)]).toEqual([blobsBefore, tagsBefore]);
}

const known = async (server: ServeProcess, path: string) => {
  const { metadata, status } = await server.json<ImageObject>(path);
  return {
    uid: metadata.uid,
    phase: status?.phase,
    size: status?.size,
    digest: status?.digest,
    target: status?.format,
  };
};
const asMade = ({ metadata, status }: ImageObject) => ({
  uid: metadata.uid,
  phase: "Ready",
  size: status?.size,
  digest: status?.digest,
  target: status?.format,
});

describe("a database that is lost", () => {
  it.each([
    ["removed", () => removeDatabase()],
    ["empty", async () => (await removeDatabase(), writeFile(join(data, "resources.db"), ""))],
  ])("(%s) keeps the service from starting and collecting, and is made again from the images", async (_how, lose) => {
    await lose();
    await refuses("E_STORE_LOST", /2 images and no database/);
    expect((await dvcr("restore", "check")).stdout).toContain("2 images and no database");
    await refuses("E_STORE_LOST", /2 images and no database/);
    expect(await dvcr("restore", "run")).toMatchObject({
      code: 0,
      stdout: "2 resources were made again:\n  ClusterVirtualImage one\n  VirtualImage team-a/two\n",
    });
    await using server = await serve();
    expect(await known(server, `${collection}/one`)).toEqual(asMade(images[0]!));
    expect(await known(server, `${inTeam}/two`)).toEqual(asMade(images[1]!));
    expect((await server.json<{ status: unknown }>("/api/v1/namespaces/team-a")).status).toEqual({ phase: "Active" });
    await eventually(() => server.log.includes("garbage collection is done"));
    expect(await tags()).toHaveLength(2);
    await server.json(`${collection}/one`, "DELETE");
    await eventually(async () => (await tags()).length === 1);
  });

  it("leaves a log behind that nobody deletes, and that is kept aside", async () => {
    await removeDatabase();
    await writeFile(join(data, "resources.db-wal"), textBytes(8192, 5));
    await refuses("E_STORE_LOST", /its log .* is not/);
    expect((await stat(join(data, "resources.db-wal"))).size).toBe(8192);
    expect((await dvcr("restore", "run")).stdout).toContain("resources.db.lost-1");
    expect((await stat(join(data, "resources.db.lost-1-wal"))).size).toBe(8192);
    await using server = await serve();
    expect(await known(server, `${collection}/one`)).toEqual(asMade(images[0]!));
  });

  it("with a damaged page is not opened, and kept aside", async () => {
    const file = await open(join(data, "resources.db"), "r+");
    await file.write(textBytes(4096, 9), 0, 4096, 4096);
    await file.close();
    await refuses("E_STORE_DAMAGED", /resources.db/);
    const { stdout } = await dvcr("restore", "run");
    expect(stdout).toContain("resources.db.lost-1");
    expect(stdout).toContain("2 resources were made again");
    await using server = await serve();
    expect(await known(server, `${inTeam}/two`)).toEqual(asMade(images[1]!));
  });

  it("without its key is not opened, and goes on without what only the key opens", async () => {
    await rm(join(data, "secrets.key"));
    await refuses("E_STORE_LOST", /secrets\.key is missing/);
    expect((await dvcr("restore", "run")).stdout).toContain("1 pull secrets were dropped");
    await using server = await serve();
    expect((await server.json<{ items: unknown[] }>("/api/v1/namespaces/team-a/secrets")).items).toEqual([]);
    expect(await known(server, `${inTeam}/two`)).toEqual(asMade(images[1]!));
  });
});

describe("a database that is another one", () => {
  it("of another data directory is refused", async () => {
    const other = join(work.path, "other");
    await using empty = await ServeProcess.on(other);
    await empty.stop();
    for (const name of ["resources.db", "secrets.key"]) await cp(join(other, name), join(data, name));
    await refuses("E_STORE_LOST", /another database/);
  });

  it("from an older backup loses nothing that was stored since, and restore makes its resource again", async () => {
    await removeDatabase();
    await cp(join(older, "resources.db"), join(data, "resources.db"));
    {
      await using server = await serve();
      await eventually(() => server.log.includes("garbage collection is done"));
      expect(await tags()).toHaveLength(2);
      expect(server.log).toContain("dvcr restore");
    }
    expect((await dvcr("gc", "run", "--yes")).stdout).toContain("Images kept, since");
    expect((await dvcr("restore", "run")).stdout).toBe("1 resources were made again:\n  VirtualImage team-a/two\n");
    await using server = await serve();
    expect(await known(server, `${inTeam}/two`)).toEqual(asMade(images[1]!));
    expect(await known(server, `${collection}/one`)).toEqual(asMade(images[0]!));
  });
});

describe("images that are lost", () => {
  it("all of them, keep the service from starting: their disk may not be mounted", async () => {
    const away = join(work.path, "images-away");
    await rename(join(data, "images"), away);
    const { code, stderr } = await dvcr("serve", "--listen", "127.0.0.1:0");
    expect([code, stderr]).toEqual([3, expect.stringMatching(/^E_STORE_LOST: of 2 Ready images.*mounted\?/m)]);
    await rm(join(data, "images"), { recursive: true, force: true });
    await rename(away, join(data, "images"));
    await using server = await serve();
    expect(await known(server, `${collection}/one`)).toEqual(asMade(images[0]!));
  });

  it("for good, are accepted by restore: their resources are ImageLost", async () => {
    await rm(join(data, "images"), { recursive: true });
    expect((await dvcr("restore", "run")).stdout).toContain("2 resources are Ready with an image that is not there");
    await using server = await serve();
    expect((await server.json<ImageObject>(`${collection}/one`)).status?.phase).toBe("ImageLost");
  });

  it.each([
    ["missing", () => rm(join(data, "images/index.json"))],
    ["cut", () => truncate(join(data, "images/index.json"), 20)],
    ["empty", () => writeFile(join(data, "images/index.json"), '{"schemaVersion":2,"manifests":[]}')],
  ])("but for their blobs (index %s) stay, and are tagged again from the resources", async (_how, lose) => {
    const before = await blobs();
    await lose();
    const { code } = await dvcr("serve", "--listen", "127.0.0.1:0");
    expect(code).toBeGreaterThan(0);
    expect(await blobs()).toEqual(before);
    expect((await dvcr("restore", "run")).stdout).toContain("2 images were put into the index again");
    await using server = await serve();
    expect(await known(server, `${collection}/one`)).toEqual(asMade(images[0]!));
    await eventually(() => server.log.includes("garbage collection is done"));
    expect(await blobs()).toEqual(before);
  });
});

async function removeDatabase(): Promise<void> {
  for (const end of ["", "-wal"]) await rm(join(data, `resources.db${end}`), { force: true });
}
