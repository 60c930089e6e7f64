/** Lists, tables and watches. */
import { connect } from "node:net";
import type { Readable } from "node:stream";

import { request } from "undici";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import type { User } from "../src/service/security/authorize.ts";
import { formatAge } from "../src/service/api/table/age.ts";
import { startApi, type Json, type TestApi } from "./support/service-api.ts";
import { imageDraft } from "./support/service-store-contract.ts";

const group = "/apis/virtualization.deckhouse.io/v1alpha2";
const cvis = `${group}/clustervirtualimages`;
const asTable = { accept: "application/json;as=Table;v=v1;g=meta.k8s.io,application/json" };

let api: TestApi;
beforeEach(async () => {
  api = await startApi({ keptChanges: 20 });
});
afterEach(async () => {
  await api[Symbol.asyncDispose]();
});

const create = async (name: string, labels: Record<string, string> = {}, namespace = ""): Promise<Json> => {
  const url = namespace === "" ? cvis : `${group}/namespaces/${namespace}/virtualimages`;
  const kind = namespace === "" ? "ClusterVirtualImage" : "VirtualImage";
  const response = await api.request("POST", url, {
    apiVersion: "virtualization.deckhouse.io/v1alpha2",
    kind,
    metadata: { name, labels },
    spec: { dataSource: { type: "Upload" } },
  });
  if (response.statusCode !== 201) throw new Error(response.body);
  return response.json<Json>();
};
const names = (list: Json): unknown[] =>
  (list["items"] as { metadata: Json }[]).map(({ metadata }) => metadata["name"]);
const list = async (query: string, url = cvis): Promise<Json> =>
  (await api.request("GET", `${url}?${query}`)).json<Json>();
const version = (object: Json): string => (object["metadata"] as { resourceVersion: string }).resourceVersion;

describe("lists", () => {
  it.each([
    ["os=linux", ["a", "b"]],
    ["os==linux,tier!=web", ["b"]],
    ["os!=linux", ["c", "d"]],
    ["os in (linux, bsd)", ["a", "b", "c"]],
    ["os notin (linux, bsd)", ["d"]],
    ["tier", ["a"]],
    ["!tier,os", ["b", "c"]],
  ])("are narrowed by the labels %s", async (selector, expected) => {
    await create("a", { os: "linux", tier: "web" });
    await create("b", { os: "linux" });
    await create("c", { os: "bsd" });
    await create("d");
    expect(names(await list(`labelSelector=${encodeURIComponent(selector)}`))).toEqual(expected);
  });

  it("are narrowed by fields", async () => {
    await create("a");
    await create("b");
    await api.setStatus("clustervirtualimages", "b", { phase: "Ready" });
    expect(names(await list("fieldSelector=metadata.name%3Da"))).toEqual(["a"]);
    expect(names(await list("fieldSelector=status.phase%3DReady%2Cmetadata.name!%3Da"))).toEqual(["b"]);
  });

  it("come in parts, of a selector's matches too", async () => {
    for (const name of ["a", "b", "c", "d", "e"]) await create(name, { odd: String("ace".includes(name)) });
    const first = await list("limit=2");
    expect(names(first)).toEqual(["a", "b"]);
    expect(first["metadata"]).toMatchObject({ remainingItemCount: 3 });
    const next = (part: Json): string => encodeURIComponent((part["metadata"] as { continue: string }).continue);
    const second = await list(`limit=2&continue=${next(first)}`);
    expect(names(second)).toEqual(["c", "d"]);
    expect(names(await list(`limit=2&continue=${next(second)}`))).toEqual(["e"]);
    const odd = await list("limit=2&labelSelector=odd%3Dtrue");
    expect(names(odd)).toEqual(["a", "c"]);
    expect(odd["metadata"]).not.toHaveProperty("remainingItemCount");
    const rest = await list(`limit=2&labelSelector=odd%3Dtrue&continue=${next(odd)}`);
    expect(names(rest)).toEqual(["e"]);
    expect(rest["metadata"]).not.toHaveProperty("continue");
  });

  it("say when their next part is gone", async () => {
    for (const name of ["a", "b"]) await create(name);
    const { metadata } = (await list("limit=1")) as { metadata: { continue: string } };
    for (let i = 0; i < 40; i += 1) await api.setStatus("clustervirtualimages", "a", { progress: `${i}%` });
    api.store.sweep();
    expect(await list(`limit=1&continue=${encodeURIComponent(metadata.continue)}`)).toMatchObject({
      code: 410,
      reason: "Expired",
      message: expect.stringMatching(/^The provided continue parameter is too old/) as unknown,
    });
    expect(await list("limit=1&continue=nonsense")).toMatchObject({ code: 400, message: "continue key is not valid" });
  });

  it("follow resourceVersionMatch as far as only the present is known", async () => {
    const old = version(await create("a"));
    await create("b");
    const current = version(await list(""));
    expect(names(await list(`resourceVersion=${old}&resourceVersionMatch=NotOlderThan`))).toEqual(["a", "b"]);
    expect(names(await list(`resourceVersion=${current}&resourceVersionMatch=Exact`))).toEqual(["a", "b"]);
    expect(await list(`resourceVersion=${old}&resourceVersionMatch=Exact`)).toMatchObject({
      code: 410,
      reason: "Expired",
    });
    expect(await list("resourceVersionMatch=Exact")).toMatchObject({
      code: 422,
      message: expect.stringContaining(
        "resourceVersionMatch is forbidden unless resourceVersion is provided",
      ) as unknown,
    });
  });

  it("go over all namespaces or stay in one", async () => {
    await create("x", {}, "team-a");
    await create("x", {}, "team-b");
    expect(names(await list("", `${group}/virtualimages`))).toEqual(["x", "x"]);
    expect(names(await list("", `${group}/namespaces/team-a/virtualimages`))).toEqual(["x"]);
  });

  it("of events are narrowed by what they are about", async () => {
    const event = (name: string, about: string): Json => ({
      apiVersion: "v1",
      kind: "Event",
      metadata: { name, namespace: "default" },
      involvedObject: { kind: "ClusterVirtualImage", name: about, uid: `uid-${about}` },
      reason: "DataSourceImportStarted",
      message: "It began.",
      type: "Normal",
      lastTimestamp: new Date(Date.now() - 65_000).toISOString(),
      source: { component: "dvcr" },
    });
    await api.store.create("events", event("a.1", "a") as never);
    await api.store.create("events", event("b.1", "b") as never);
    const fields = { kind: "ClusterVirtualImage", name: "b", namespace: "", uid: "uid-b" };
    const selector = Object.entries(fields).map(([field, value]) => `involvedObject.${field}=${value}`);
    const query = `fieldSelector=${encodeURIComponent(selector.join(","))}`;
    expect(names(await list(query, "/api/v1/events"))).toEqual(["b.1"]);
    const table = (await api.request("GET", `/api/v1/namespaces/default/events?${query}`, undefined, asTable)).json<{
      rows: { cells: unknown[] }[];
    }>();
    expect(table.rows[0]?.cells.slice(0, 4)).toEqual([
      "65s",
      "Normal",
      "DataSourceImportStarted",
      "clustervirtualimage/b",
    ]);
  });
});

describe("tables", () => {
  it("have the manual's columns, the wide ones apart, and empty cells for what is missing", async () => {
    await create("a");
    const get = async (query = "", url = cvis) =>
      (await api.request("GET", `${url}?${query}`, undefined, asTable)).json<{
        kind: string;
        apiVersion: string;
        columnDefinitions: { name: string; priority: number }[];
        rows: { cells: unknown[]; object: Json | null }[];
      }>();
    const table = await get();
    expect([table.kind, table.apiVersion]).toEqual(["Table", "meta.k8s.io/v1"]);
    expect(table.columnDefinitions.map(({ name, priority }) => [name, priority])).toEqual([
      ["Name", 0],
      ["Phase", 0],
      ["CDROM", 0],
      ["Progress", 0],
      ["StoredSize", 1],
      ["UnpackedSize", 1],
      ["Registry URL", 1],
      ["Age", 0],
    ]);
    expect(table.rows[0]?.cells.slice(0, 7)).toEqual(["a", null, null, null, null, null, null]);
    expect(table.rows[0]?.object).toMatchObject({
      kind: "PartialObjectMetadata",
      apiVersion: "meta.k8s.io/v1",
      metadata: { name: "a" },
    });
    expect(table.rows[0]?.object).not.toHaveProperty("spec");
    await api.setStatus("clustervirtualimages", "a", {
      phase: "Ready",
      cdrom: false,
      progress: "100%",
      size: { stored: "1Mi", unpacked: "2Mi" },
      target: { registryURL: "h/cvi/a:1" },
    });
    expect((await get("includeObject=Object")).rows[0]).toMatchObject({
      cells: ["a", "Ready", false, "100%", "1Mi", "2Mi", "h/cvi/a:1", expect.stringMatching(/^\d+s$/)],
      object: { kind: "ClusterVirtualImage", spec: {} },
    });
    expect((await get("includeObject=None")).rows[0]?.object).toBeNull();
    expect((await get("", `${cvis}/a`)).rows).toHaveLength(1);
    expect((await get("", `${group}/virtualimages`)).columnDefinitions.map(({ name }) => name)).toContain("TargetPVC");
  });

  it("can be metadata alone", async () => {
    await create("a", { os: "linux" });
    const accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    expect((await api.request("GET", cvis, undefined, { accept })).json()).toMatchObject({
      kind: "PartialObjectMetadataList",
      items: [{ kind: "PartialObjectMetadata", metadata: { labels: { os: "linux" } } }],
    });
  });

  it.each([
    [-5000, "<invalid>"],
    [-500, "0s"],
    [0, "0s"],
    [119_000, "119s"],
    [120_000, "2m"],
    [303_000, "5m3s"],
    [600_000, "10m"],
    [3 * 3_600_000, "3h"],
    [7 * 3_600_000 + 60_000, "7h1m"],
    [47 * 3_600_000, "47h"],
    [48 * 3_600_000, "2d"],
    [49 * 3_600_000, "2d1h"],
    [8 * 86_400_000, "8d"],
    [729 * 86_400_000, "729d"],
    [730 * 86_400_000, "2y"],
    [800 * 86_400_000, "2y70d"],
    [9 * 365 * 86_400_000, "9y"],
  ])("show an age of %d ms as %s", (milliseconds, expected) => {
    expect(formatAge(milliseconds)).toBe(expected);
  });
});

interface Event {
  readonly type: string;
  readonly object: Json;
}

/** A watch over a real connection. */
class TestWatch {
  readonly #body: Readable;
  readonly #chunks: AsyncIterator<Buffer>;
  #text = "";

  private constructor(body: Readable) {
    this.#body = body;
    this.#chunks = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  static async open(
    query: string,
    { url = cvis, headers = {} }: { url?: string; headers?: Record<string, string> } = {},
  ): Promise<TestWatch> {
    const { statusCode, body } = await request(`${await api.listen()}${url}?watch=true&${query}`, { headers });
    if (statusCode !== 200) throw new Error(await body.text());
    return new TestWatch(body);
  }

  /** The next event; nothing at the end. */
  async next(): Promise<Event | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return JSON.parse(line) as Event;
      }
      const chunk = await this.#chunks.next();
      if (chunk.done === true) return undefined;
      this.#text += chunk.value.toString("utf8");
    }
  }

  /** Types and names of the next events. */
  async take(count: number): Promise<string[]> {
    const events: string[] = [];
    while (events.length < count) {
      const event = await this.next();
      if (event === undefined) break;
      events.push(`${event.type} ${((event.object["metadata"] as Json)["name"] as string | undefined) ?? ""}`.trim());
    }
    return events;
  }

  close(): void {
    this.#body.on("error", () => undefined).destroy();
  }
}

describe("watches", () => {
  it("tell what is there, then what changes, each once", async () => {
    await create("a");
    const watch = await TestWatch.open("");
    expect(await watch.take(1)).toEqual(["ADDED a"]);
    await create("b");
    await api.setStatus("clustervirtualimages", "a", { phase: "Ready" });
    await api.request("DELETE", `${cvis}/b`);
    expect(await watch.take(3)).toEqual(["ADDED b", "MODIFIED a", "DELETED b"]);
    watch.close();
  });

  it("are sent changes that come together in one piece", async () => {
    const { host, hostname, port } = new URL(await api.listen());
    const socket = connect(Number(port), hostname);
    socket.write(`GET ${cvis}?watch=true HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    let text = "";
    const drafts = ["a", "b", "c", "d", "e", "f", "g", "h"].map((name) => imageDraft(name));
    for await (const piece of socket) {
      const isFirst = text === "";
      text += String(piece);
      // Asked for in one turn of the event loop, they are one commit.
      if (isFirst) void Promise.all(drafts.map((draft) => api.store.create("clustervirtualimages", draft)));
      if (text.split('"type":"ADDED"').length > drafts.length) break;
    }
    expect(text).toMatch(/^transfer-encoding: chunked\r$/im);
    expect(text.slice(text.indexOf("\r\n\r\n")).match(/^[0-9a-f]+\r$/gm)).toHaveLength(1);
  });

  it("go on from a version, of one object where its name is selected", async () => {
    const first = version(await create("a"));
    await create("b");
    await api.setStatus("clustervirtualimages", "a", { phase: "Ready" });
    const watch = await TestWatch.open(`resourceVersion=${first}&fieldSelector=metadata.name%3Da`);
    expect(await watch.take(1)).toEqual(["MODIFIED a"]);
    watch.close();
  });

  it("tell objects that come to match, or no longer do, as added and deleted", async () => {
    await create("a");
    const watch = await TestWatch.open(`labelSelector=os%3Dlinux&resourceVersion=${version(await list(""))}`);
    const label = (os: string | null) =>
      api.request(
        "PATCH",
        `${cvis}/a`,
        { metadata: { labels: { os } } },
        { "content-type": "application/merge-patch+json" },
      );
    await label("linux");
    await api.setStatus("clustervirtualimages", "a", { phase: "Ready" });
    await label("bsd");
    await label("linux");
    await api.request("DELETE", `${cvis}/a`);
    expect(await watch.take(5)).toEqual(["ADDED a", "MODIFIED a", "DELETED a", "ADDED a", "DELETED a"]);
    watch.close();
  });

  it("stay in their namespace", async () => {
    const watch = await TestWatch.open("", { url: `${group}/namespaces/team-a/virtualimages` });
    await create("x", {}, "team-b");
    await create("y", {}, "team-a");
    expect(await watch.take(1)).toEqual(["ADDED y"]);
    watch.close();
  });

  it("mark the end of what was there, and how far they came when the server stops", async () => {
    await create("a");
    const watch = await TestWatch.open(
      "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
    );
    expect(await watch.take(1)).toEqual(["ADDED a"]);
    expect(await watch.next()).toMatchObject({
      type: "BOOKMARK",
      object: { kind: "ClusterVirtualImage", metadata: { annotations: { "k8s.io/initial-events-end": "true" } } },
    });
    const last = version(await create("b"));
    expect(await watch.take(1)).toEqual(["ADDED b"]);
    const closing = api.app.close();
    expect(await watch.next()).toMatchObject({ type: "BOOKMARK", object: { metadata: { resourceVersion: last } } });
    expect(await watch.next()).toBeUndefined();
    await closing;
  });

  it("end after timeoutSeconds", async () => {
    const watch = await TestWatch.open("timeoutSeconds=1");
    expect(await watch.next()).toBeUndefined();
  });

  it("say when their version is forgotten", async () => {
    const old = version(await create("a"));
    for (let i = 0; i < 40; i += 1) await api.setStatus("clustervirtualimages", "a", { progress: `${i}%` });
    api.store.sweep();
    const watch = await TestWatch.open(`resourceVersion=${old}`);
    expect(await watch.next()).toMatchObject({
      type: "ERROR",
      object: {
        kind: "Status",
        code: 410,
        reason: "Expired",
        message: expect.stringMatching(new RegExp(`^too old resource version: ${old} \\(`)) as unknown,
      },
    });
    expect(await watch.next()).toBeUndefined();
  });

  it("are tables where that is asked for, with the columns once", async () => {
    await create("a");
    const watch = await TestWatch.open("", { headers: asTable });
    const first = await watch.next();
    expect(first).toMatchObject({
      type: "ADDED",
      object: { kind: "Table", rows: [{ cells: expect.arrayContaining(["a"]) as unknown }] },
    });
    expect((first!.object["columnDefinitions"] as unknown[]).length).toBe(8);
    await api.setStatus("clustervirtualimages", "a", { phase: "Provisioning", cdrom: false, progress: "28.2%" });
    const second = await watch.next();
    expect(second!.object["columnDefinitions"]).toEqual([]);
    expect((second!.object["rows"] as { cells: unknown[] }[])[0]?.cells.slice(0, 4)).toEqual([
      "a",
      "Provisioning",
      false,
      "28.2%",
    ]);
    watch.close();
  });

  it("hide upload URLs from those who may not upload", async () => {
    const viewer: User = { name: "vera", groups: [], grants: [{ role: "view" }] };
    await api.request("GET", "/version", undefined, {}, viewer);
    const watch = await TestWatch.open("", { headers: { "x-test-user": "vera" } });
    await create("a");
    await api.setStatus("clustervirtualimages", "a", {
      phase: "WaitForUserUpload",
      imageUploadURLs: { external: "http://x/upload/TOKEN" },
    });
    await watch.next();
    expect((await watch.next())!.object["status"]).toEqual({ phase: "WaitForUserUpload" });
    watch.close();
  });

  it("leave nothing behind when the client goes", async () => {
    const connections = (): Promise<number> =>
      new Promise((resolve, reject) => {
        api.app.server.getConnections((error, count) => {
          if (error === null) resolve(count);
          else reject(error);
        });
      });
    const watches = await Promise.all(Array.from({ length: 50 }, () => TestWatch.open("")));
    await create("a");
    expect((await Promise.all(watches.map((watch) => watch.take(1)))).flat()).toEqual(
      Array.from({ length: 50 }, () => "ADDED a"),
    );
    expect(await connections()).toBe(50);
    for (const watch of watches) watch.close();
    await expect.poll(connections, { timeout: 20_000 }).toBe(0);
    await create("b");
    expect(names(await list(""))).toEqual(["a", "b"]);
  });
});
