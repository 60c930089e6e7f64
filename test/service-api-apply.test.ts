/** Server-side apply and the ownership of fields, as Kubernetes documents them ("Server-Side Apply"). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { startApi, type Json, type TestApi } from "./support/service-api.ts";

const cvis = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";
const image = (name: string, dataSource: Json | undefined, metadata: Json = {}): Json => ({
  apiVersion: "virtualization.deckhouse.io/v1alpha2",
  kind: "ClusterVirtualImage",
  metadata: { name, ...metadata },
  ...(dataSource === undefined ? {} : { spec: { dataSource } }),
});
const http = (url: string, more: Json = {}): Json => ({ type: "HTTP", http: { url, ...more } });

interface Managed {
  readonly manager: string;
  readonly operation: string;
  readonly fieldsV1: Json;
  readonly subresource?: string;
  readonly time: string;
}

let api: TestApi;
beforeAll(async () => {
  api = await startApi();
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
});

const apply = async (
  manager: string,
  body: Json | string,
  { force = false, path = "", query = "" } = {},
): Promise<{ status: number; json: Json }> => {
  const name =
    typeof body === "string" ? /name: (\S+)/.exec(body)![1]! : ((body["metadata"] as Json)["name"] as string);
  const url = `${cvis}/${name}${path}?fieldManager=${manager}${force ? "&force=true" : ""}${query}`;
  const response = await api.request("PATCH", url, body, { "content-type": "application/apply-patch+yaml" });
  return { status: response.statusCode, json: response.json<Json>() };
};
const merge = async (manager: string, name: string, body: Json, path = ""): Promise<Json> => {
  const response = await api.request("PATCH", `${cvis}/${name}${path}?fieldManager=${manager}`, body, {
    "content-type": "application/merge-patch+json",
  });
  if (response.statusCode !== 200) throw new Error(response.body);
  return response.json<Json>();
};
const managed = (object: Json): Managed[] => (object["metadata"] as { managedFields?: Managed[] }).managedFields ?? [];
const fieldsOf = (object: Json, manager: string): Json | undefined =>
  managed(object).find((one) => one.manager === manager)?.fieldsV1;

describe("server-side apply", () => {
  it("creates, from YAML, and notes who owns what", async () => {
    const { status, json } = await apply(
      "alice",
      "apiVersion: virtualization.deckhouse.io/v1alpha2\nkind: ClusterVirtualImage\nmetadata:\n  " +
        "name: made\n  labels: {os: linux}\nspec:\n  dataSource:\n    type: HTTP\n    http: {url: " +
        "'https://e.com/a'}\n",
    );
    expect(status).toBe(201);
    expect(managed(json)).toEqual([
      {
        manager: "alice",
        operation: "Apply",
        apiVersion: "virtualization.deckhouse.io/v1alpha2",
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) as unknown,
        fieldsType: "FieldsV1",
        fieldsV1: {
          "f:metadata": { "f:labels": { "f:os": {} } },
          "f:spec": { "f:dataSource": { "f:http": { "f:url": {} }, "f:type": {} } },
        },
      },
    ]);
  });

  it("writes nothing when the same is applied again", async () => {
    const { json: first } = await apply("alice", image("same", http("https://e.com/a")));
    const { status, json: second } = await apply("alice", image("same", http("https://e.com/a")));
    expect(status).toBe(200);
    expect(second).toEqual(first);
  });

  it("takes away what its manager no longer wants, with the containers that it alone made", async () => {
    await apply(
      "alice",
      image("abandon", http("https://e.com/a", { checksum: { md5: "0".repeat(32) } }), {
        labels: { a: "1", b: "2" },
        annotations: { note: "x" },
      }),
    );
    const { json } = await apply("alice", image("abandon", { type: "Upload" }, { labels: { a: "1" } }));
    expect(json["spec"]).toEqual({ dataSource: { type: "Upload" } });
    expect(json["metadata"]).toMatchObject({ labels: { a: "1" } });
    expect(json["metadata"]).not.toHaveProperty("annotations");
  });

  it("leaves what another manager wants too", async () => {
    await apply("alice", image("shared", http("https://e.com/a"), { labels: { both: "x", mine: "x" } }));
    await apply("bob", image("shared", undefined, { labels: { both: "x" } }));
    const { json } = await apply("alice", image("shared", http("https://e.com/a")));
    expect((json["metadata"] as Json)["labels"]).toEqual({ both: "x" });
    expect(fieldsOf(json, "bob")).toEqual({ "f:metadata": { "f:labels": { "f:both": {} } } });
  });

  it("refuses to change what others own, naming each field and owner", async () => {
    await apply("alice", image("conflict", http("https://e.com/a"), { labels: { os: "linux" } }));
    expect(await apply("bob", image("conflict", http("https://e.com/b")))).toEqual({
      status: 409,
      json: {
        kind: "Status",
        apiVersion: "v1",
        metadata: {},
        status: "Failure",
        message: 'Apply failed with 1 conflict: conflict with "alice": .spec.dataSource.http.url',
        reason: "Conflict",
        details: {
          causes: [
            { reason: "FieldManagerConflict", message: 'conflict with "alice"', field: ".spec.dataSource.http.url" },
          ],
        },
        code: 409,
      },
    });
    const two = await apply("bob", image("conflict", http("https://e.com/b"), { labels: { os: "bsd" } }));
    expect(two.json["message"]).toBe(
      'Apply failed with 2 conflicts: conflicts with "alice":\n- .metadata.labels.os\n- .spec.dataSource.http.url',
    );
  });

  it("takes fields over by force, also from updates", async () => {
    await apply("alice", image("force", http("https://e.com/a")));
    await merge("edit", "force", { metadata: { labels: { os: "linux" } } });
    const refused = await apply("bob", image("force", http("https://e.com/b"), { labels: { os: "bsd" } }));
    const [first, second] = String(refused.json["message"]).split("\nconflicts with ");
    expect(first).toMatch(/conflicts with "alice":\n- \.spec\.dataSource\.http\.url$/);
    expect(second).toMatch(/^"edit" using virtualization\.deckhouse\.io\/v1alpha2 at \S+:\n- \.metadata\.labels\.os$/);
    const { status, json } = await apply("bob", image("force", http("https://e.com/b"), { labels: { os: "bsd" } }), {
      force: true,
    });
    expect(status).toBe(200);
    expect(json["spec"]).toEqual({ dataSource: http("https://e.com/b") });
    expect(fieldsOf(json, "alice")).toEqual({ "f:spec": { "f:dataSource": { "f:type": {} } } });
    expect(fieldsOf(json, "edit")).toEqual({ "f:metadata": { "f:labels": {} } });
  });

  it("shares what both want the same", async () => {
    await apply("alice", image("co-owned", http("https://e.com/a")));
    const { status, json } = await apply("bob", image("co-owned", http("https://e.com/a")));
    expect(status).toBe(200);
    expect(fieldsOf(json, "bob")).toEqual(fieldsOf(json, "alice"));
  });

  it("merges finalizers one by one, as a set", async () => {
    await apply("alice", image("set", http("https://e.com/a"), { finalizers: ["example.com/a"] }));
    const { json } = await apply("bob", image("set", undefined, { finalizers: ["example.com/b"] }));
    expect((json["metadata"] as Json)["finalizers"]).toEqual(["example.com/a", "example.com/b"]);
    const { json: after } = await apply("alice", image("set", http("https://e.com/a")));
    expect((after["metadata"] as Json)["finalizers"]).toEqual(["example.com/b"]);
    expect(fieldsOf(after, "bob")).toEqual({ "f:metadata": { "f:finalizers": { 'v:"example.com/b"': {} } } });
  });

  it("merges conditions by their type, in the status alone", async () => {
    await apply("alice", image("conditions", http("https://e.com/a")));
    const condition = (type: string, status: string) => ({
      type,
      status,
      reason: "Because",
      message: "",
      lastTransitionTime: "2026-01-01T00:00:00Z",
    });
    const body = (conditions: Json[]) => ({
      ...image("conditions", http("https://e.com/never")),
      status: { conditions },
    });
    await apply("ready", body([condition("Ready", "False")]), { path: "/status" });
    const { status, json } = await apply("source", body([condition("DatasourceReady", "True")]), { path: "/status" });
    expect(status).toBe(200);
    expect((json["status"] as { conditions: Json[] }).conditions.map(({ type }) => type)).toEqual([
      "Ready",
      "DatasourceReady",
    ]);
    expect(json["spec"]).toEqual({ dataSource: http("https://e.com/a") });
    const owner = managed(json).find(({ manager }) => manager === "ready");
    expect(owner).toMatchObject({
      subresource: "status",
      fieldsV1: { "f:status": { "f:conditions": { 'k:{"type":"Ready"}': { ".": {}, "f:status": {} } } } },
    });
    const clash = await apply("source", body([condition("DatasourceReady", "True"), condition("Ready", "True")]), {
      path: "/status",
    });
    expect(clash.json["message"]).toBe(
      'Apply failed with 1 conflict: conflict with "ready" with subresource "status": ' +
        '.status.conditions[type="Ready"].status',
    );
  });

  it("is checked as strictly as others and more", async () => {
    expect(await apply("alice", image("bad", http("ftp://x")))).toMatchObject({ status: 422 });
    expect(await apply("alice", image("bad", { type: "HTTP", typ: 1 }))).toMatchObject({
      status: 400,
      json: {
        message:
          "failed to create typed patch object (/bad; virtualization.deckhouse.io/v1alpha2, " +
          "Kind=ClusterVirtualImage): .spec.dataSource.typ: field not declared in schema",
      },
    });
    expect(await apply("", image("bad", http("https://e.com/a")))).toMatchObject({
      status: 422,
      json: {
        message: expect.stringContaining("fieldManager: Required value: is required for apply patch") as unknown,
      },
    });
    expect(await apply("alice", image("bad", http("https://e.com/a"), { managedFields: [] }))).toMatchObject({
      status: 400,
      json: { message: "metadata.managedFields must be nil" },
    });
    expect(await apply("alice", image("bad", http("https://e.com/a"), { resourceVersion: "1" }))).toMatchObject({
      status: 409,
    });
    expect(
      await apply(
        "alice",
        "apiVersion: virtualization.deckhouse.io/v1alpha2\nkind: ClusterVirtualImage\nmetadata:\n  " +
          "name: bad\n  name: bad\n",
      ),
    ).toMatchObject({
      status: 400,
      json: { message: expect.stringContaining('key "metadata.name" already set in map') as unknown },
    });
    expect((await api.request("GET", `${cvis}/bad`)).statusCode).toBe(404);
  });

  it("tells the outcome of a dry run without storing it", async () => {
    expect(await apply("alice", image("dry", http("https://e.com/a")), { query: "&dryRun=All" })).toMatchObject({
      status: 201,
    });
    expect((await api.request("GET", `${cvis}/dry`)).statusCode).toBe(404);
  });
});

describe("ownership by updates", () => {
  it("goes to whom changed the value last, and away with the field", async () => {
    await apply("alice", image("moves", http("https://e.com/a"), { labels: { os: "linux" } }));
    const json = await merge("bob", "moves", {
      spec: { dataSource: { http: { url: "https://e.com/b" } } },
      metadata: { labels: { os: null } },
    });
    expect(fieldsOf(json, "alice")).toEqual({ "f:spec": { "f:dataSource": { "f:type": {} } } });
    expect(fieldsOf(json, "bob")).toEqual({ "f:spec": { "f:dataSource": { "f:http": { "f:url": {} } } } });
  });

  it("is noted for containers that an update makes, and for subresources apart", async () => {
    const response = await api.request(
      "POST",
      `${cvis}?fieldManager=carol`,
      image("created", { type: "Upload" }, { labels: { a: "b" } }),
    );
    expect(fieldsOf(response.json<Json>(), "carol")).toEqual({
      "f:metadata": { "f:labels": { ".": {}, "f:a": {} } },
      "f:spec": { ".": {}, "f:dataSource": { ".": {}, "f:type": {} } },
    });
    const json = await merge("carol", "created", { status: { phase: "Pending" } }, "/status");
    expect(managed(json).map(({ manager, subresource }) => [manager, subresource])).toEqual(
      expect.arrayContaining([
        ["carol", undefined],
        ["carol", "status"],
      ]),
    );
  });

  it("follows what a client writes to managedFields, and can be forgotten", async () => {
    await api.request("POST", `${cvis}?fieldManager=carol`, image("handed", { type: "Upload" }));
    const read = (await api.request("GET", `${cvis}/handed`)).json<Json>();
    const entries = managed(read).map((one) => ({ ...one, manager: "dave" }));
    expect(
      managed(await merge("dave", "handed", { metadata: { managedFields: entries } })).map(({ manager }) => manager),
    ).toEqual(["dave"]);
    expect(managed(await merge("dave", "handed", { metadata: { managedFields: [{}] } }))).toEqual([]);
    const garbage = [{ manager: "x", operation: "Update", fieldsV1: { nonsense: 1 } }];
    expect(
      managed(await merge("dave", "handed", { metadata: { managedFields: garbage, labels: { a: "b" } } })).map(
        ({ manager }) => manager,
      ),
    ).toEqual(["dave"]);
  });
});
