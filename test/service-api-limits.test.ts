import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { protobufSecret } from "./support/kube-protobuf.ts";
import { startApi, type Json, type TestApi } from "./support/service-api.ts";

const cvis = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";
const secrets = "/api/v1/namespaces/limits/secrets";
const protobuf = "application/vnd.kubernetes.protobuf";
const forms = {
  jsonPatch: "application/json-patch+json",
  mergePatch: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
};

const image = (name: string, metadata: Json = {}): Json => ({
  apiVersion: "virtualization.deckhouse.io/v1alpha2",
  kind: "ClusterVirtualImage",
  metadata: { name, ...metadata },
  spec: { dataSource: { type: "Upload" } },
});
const yamlOf = (name: string, lines: string): string =>
  "apiVersion: virtualization.deckhouse.io/v1alpha2\nkind: ClusterVirtualImage\nmetadata:\n  " +
  `name: ${name}\nspec: {dataSource: {type: Upload}}\n${lines}`;
const numbered = (count: number, name = "l"): [string, string][] =>
  Array.from({ length: count }, (_, index) => [`${name}${String(index)}`, "v"]);
const labels = (count: number): Json => Object.fromEntries(numbered(count));

let api: TestApi;
beforeAll(async () => {
  api = await startApi();
  await api.request("POST", cvis, image("live", { labels: { a: "b" }, finalizers: ["example.com/hold"] }));
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
});

async function call(method: string, url: string, body?: unknown, type = "application/json", user?: never) {
  const response = await api.request(method, url, body, { "content-type": type }, user);
  return { status: response.statusCode, json: response.json<Json>(), headers: response.headers };
}
const send = async (body: Buffer): Promise<{ status: number; json: Json }> => {
  const response = await api.app.inject({
    method: "POST",
    url: secrets,
    headers: { "content-type": protobuf },
    payload: body,
  });
  return { status: response.statusCode, json: response.json<Json>() };
};
const fieldsOf = (json: Json): unknown[] =>
  ((json["details"] as { causes?: Json[] } | undefined)?.causes ?? []).map(({ field, reason }) => [field, reason]);

describe("a JSON pointer", () => {
  it.each<[string, Json]>([
    ["a list's length", { op: "replace", path: "/metadata/finalizers/length", value: 30_000_000 }],
    ["a list's length, to read it", { op: "test", path: "/metadata/finalizers/length", value: 1 }],
    ["a text's length", { op: "test", path: "/metadata/name/length", value: 4 }],
    ["an index beyond the end", { op: "add", path: "/metadata/finalizers/4000000000", value: "example.com/x" }],
    ["an index one beyond the end", { op: "replace", path: "/metadata/finalizers/1", value: "example.com/x" }],
    ["an index with a leading zero", { op: "replace", path: "/metadata/finalizers/00", value: "example.com/x" }],
    ["a negative index", { op: "add", path: "/metadata/finalizers/-1", value: "example.com/x" }],
    ["the end of a list, to remove it", { op: "remove", path: "/metadata/finalizers/-" }],
    ["a method of lists", { op: "replace", path: "/metadata/finalizers/push", value: 1 }],
    ["what objects inherit", { op: "replace", path: "/metadata/labels/toString", value: "x" }],
    ["a prototype", { op: "add", path: "/__proto__/polluted", value: 1 }],
    ["a prototype as a member", { op: "add", path: "/metadata/labels/__proto__", value: { polluted: 1 } }],
    ["a prototype by its constructor", { op: "add", path: "/constructor/prototype/polluted", value: 1 }],
    ["a prototype, to copy it", { op: "copy", from: "/metadata/__proto__", path: "/metadata/annotations" }],
    ["an escape that is none", { op: "add", path: "/metadata/labels/a~2", value: "x" }],
    ["the inside of what is moved", { op: "move", from: "/metadata", path: "/metadata/labels/x" }],
    ["more levels than objects have", { op: "add", path: "/a".repeat(70), value: 1 }],
  ])("never reaches %s", async (_what, operation) => {
    const { status } = await call("PATCH", `${cvis}/live?dryRun=All`, [operation], forms.jsonPatch);
    expect(status).toBe(422);
    expect(({} as Json)["polluted"]).toBeUndefined();
  });

  it("reaches what RFC 6901 lets it reach", async () => {
    const operations = [
      { op: "add", path: "/metadata/finalizers/-", value: "example.com/two" },
      { op: "add", path: "/metadata/finalizers/0", value: "example.com/zero" },
      { op: "move", from: "/metadata/finalizers/2", path: "/metadata/finalizers/0" },
      { op: "remove", path: "/metadata/finalizers/1" },
      { op: "add", path: "/metadata/annotations", value: {} },
      { op: "copy", from: "/metadata/labels/a", path: "/metadata/annotations/e.com~1x" },
      { op: "test", path: "/metadata/annotations", value: { "e.com/x": "b" } },
    ];
    const { status, json } = await call("PATCH", `${cvis}/live?dryRun=All`, operations, forms.jsonPatch);
    expect(status).toBe(200);
    expect(json["metadata"]).toMatchObject({
      finalizers: ["example.com/two", "example.com/hold"],
      annotations: { "e.com/x": "b" },
    });
  });

  it("does no more work for a patch than its bytes are worth", async () => {
    const big = { op: "add", path: "/metadata/labels", value: labels(20_000) };
    const tests = Array.from({ length: 100 }, () => ({ op: "test", path: "/metadata/labels", value: labels(20) }));
    expect(await call("PATCH", `${cvis}/live`, [big, ...tests.slice(0, 1)], forms.jsonPatch)).toMatchObject({
      status: 422,
    });
    const equal = Array.from({ length: 100 }, () => ({ op: "copy", from: "/metadata/labels", path: "/spec/x" }));
    expect(await call("PATCH", `${cvis}/live`, [big, ...equal], forms.jsonPatch)).toMatchObject({ status: 413 });
  });
});

describe("a body", () => {
  const values = 60_000;
  it.each<[string, string, string, string, unknown]>([
    ["JSON", "POST", cvis, "application/json", `{"a":[${"1,".repeat(values)}1]}`],
    ["JSON with one name again and again", "POST", cvis, "application/json", `{${'"a":1,'.repeat(values)}"b":1}`],
    ["YAML", "POST", cvis, "application/yaml", `a: [${"1,".repeat(values)}1]`],
    ["YAML whose aliases repeat it", "POST", cvis, "application/yaml", aliases(20)],
    ["YAML that is longer than is read", "POST", cvis, "application/yaml", yamlOf("x", `# ${"x".repeat(300_000)}`)],
    ["an applied object", "PATCH", `${cvis}/a?fieldManager=m`, forms.apply, `a: [${"1,".repeat(values)}1]`],
    ["a merge patch", "PATCH", `${cvis}/live`, forms.mergePatch, `{"a":[${"1,".repeat(values)}1]}`],
    ["a JSON patch", "PATCH", `${cvis}/live`, forms.jsonPatch, `[${'{"op":"x","path":""},'.repeat(values)}{}]`],
  ])("of too many values is refused as %s", async (_what, method, url, type, body) => {
    expect(await call(method, url, body, type)).toMatchObject({
      status: 413,
      json: { reason: "RequestEntityTooLarge" },
    });
  });

  it("of too many values is refused as protobuf", async () => {
    expect(await send(protobufSecret({ name: "x", labels: numbered(values) }))).toMatchObject({ status: 413 });
  });

  const deep = `${'{"a":'.repeat(70)}1${"}".repeat(70)}`;
  it.each<[string, string, string, string, string]>([
    ["JSON", "POST", cvis, "application/json", deep],
    ["YAML", "POST", cvis, "application/yaml", `x: ${deep}`],
    ["YAML by aliases", "POST", cvis, "application/yaml", chain(80)],
    ["a merge patch", "PATCH", `${cvis}/live`, forms.mergePatch, deep],
    ["a JSON patch", "PATCH", `${cvis}/live`, forms.jsonPatch, `[{"op":"add","path":"/x","value":${deep}}]`],
  ])("that is too deep is refused as %s", async (_what, method, url, type, body) => {
    expect(await call(method, url, body, type)).toMatchObject({ status: 400 });
  });

  it("that a JSON patch makes too deep is refused", async () => {
    const level = `${'{"a":'.repeat(40)}1${"}".repeat(40)}`;
    const copy = `{"op":"copy","from":"/spec","path":"/spec/x${"/a".repeat(39)}"}`;
    const body = `[{"op":"add","path":"/spec/x","value":${level}},${copy}]`;
    expect(await call("PATCH", `${cvis}/live`, body, forms.jsonPatch)).toMatchObject({
      status: 400,
      json: { message: expect.stringContaining("nested too deeply") as unknown },
    });
  });

  it.each<[string, string, string]>([
    ["JSON", "application/json", '{"metadata":{"\\u005f_proto__":{"polluted":1}}}'],
    ["YAML", "application/yaml", "metadata: {__proto__: {polluted: 1}}"],
  ])("with a member that would reach a prototype is refused as %s", async (_what, type, body) => {
    expect(await call("POST", cvis, body, type)).toMatchObject({ status: 400 });
    expect(({} as Json)["polluted"]).toBeUndefined();
  });

  it("with such a member is refused as protobuf, and so is a name that no field has", async () => {
    expect(await send(protobufSecret({ name: "x", labels: [["__proto__", "v"]] }))).toMatchObject({ status: 400 });
    expect(await send(protobufSecret({ name: "x", labels: [["l".repeat(2000), "v"]] }))).toMatchObject({ status: 400 });
    const { status, json } = await call("POST", cvis, image("x", { labels: { ["l".repeat(2000)]: "v" } }));
    expect([status, json["message"]]).toEqual([400, expect.stringContaining("longer than 1024 characters")]);
  });

  it.each<[string, string]>([
    ["a number", "1"],
    ["a list", "[]"],
    ["null", "null"],
  ])("of a patch that is %s is refused", async (_what, body) => {
    for (const type of [forms.mergePatch, forms.apply])
      expect(await call("PATCH", `${cvis}/live?fieldManager=m`, body, type)).toMatchObject({ status: 400 });
    await call("POST", secrets, secret("merged"));
    expect(await call("PATCH", `${secrets}/merged`, body, forms.strategic)).toMatchObject({ status: 400 });
  });

  it("of a strategic patch that holds items without keys is refused", async () => {
    await call("POST", secrets, secret("keyed", { ownerReferences: [owner("1")] }));
    const body = { metadata: { ownerReferences: [null, 7] } };
    expect(await call("PATCH", `${secrets}/keyed`, body, forms.strategic)).toMatchObject({ status: 400 });
  });
});

const secret = (name: string, metadata: Json = {}): Json => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name, ...metadata },
  type: "kubernetes.io/dockerconfigjson",
  stringData: { ".dockerconfigjson": '{"auths":{}}' },
});
const owner = (uid: string): Json => ({ apiVersion: "v1", kind: "Namespace", name: "owner", uid });

describe("metadata", () => {
  const tooMany = (name: string) => [[`metadata.${name}`, "FieldValueTooMany"]];
  it.each<[string, Json]>([
    ["labels", labels(300)],
    ["annotations", labels(600)],
    ["finalizers", numbered(70, "example.com/f").map(([name]) => name) as unknown as Json],
    ["ownerReferences", numbered(70).map(([uid]) => owner(uid)) as unknown as Json],
    ["managedFields", numbered(70).map(([manager]) => ({ manager, operation: "Update" })) as unknown as Json],
  ])("of too many %s is refused, created and patched", async (name, value) => {
    const created = await call("POST", cvis, image("many", { [name]: value }));
    expect([created.status, fieldsOf(created.json)]).toEqual([422, tooMany(name)]);
    const merged = await call("PATCH", `${cvis}/live`, { metadata: { [name]: value } }, forms.mergePatch);
    expect([merged.status, fieldsOf(merged.json)]).toEqual([422, tooMany(name)]);
    const operation = { op: "add", path: `/metadata/${name}`, value };
    const patched = await call("PATCH", `${cvis}/live`, [operation], forms.jsonPatch);
    expect([patched.status, fieldsOf(patched.json)]).toEqual([422, tooMany(name)]);
  });

  it("of too many labels is refused as YAML, applied and as protobuf", async () => {
    const lines = numbered(300).map(([name]) => `    ${name}: v\n`);
    const yaml =
      "apiVersion: virtualization.deckhouse.io/v1alpha2\nkind: ClusterVirtualImage\nmetadata:\n  " +
      `name: a\n  labels:\n${lines.join("")}spec: {dataSource: {type: Upload}}\n`;
    const sent = await call("POST", cvis, yaml, "application/yaml");
    expect([sent.status, fieldsOf(sent.json)]).toEqual([422, tooMany("labels")]);
    const applied = await call("PATCH", `${cvis}/a?fieldManager=m`, yaml, forms.apply);
    expect([applied.status, fieldsOf(applied.json)]).toEqual([422, tooMany("labels")]);
    const packed = await send(protobufSecret({ name: "x", labels: numbered(10_000) }));
    expect([packed.status, fieldsOf(packed.json)]).toEqual([422, tooMany("labels")]);
  });

  it("of a Secret in protobuf is read whole", async () => {
    const finalizers = ["example.com/one", "example.com/two"];
    const { status, json } = await send(
      protobufSecret({ name: "packed", labels: numbered(3), finalizers, owners: ["u-1", "u-2"] }),
    );
    expect(status).toBe(201);
    expect(json["metadata"]).toMatchObject({
      labels: labels(3),
      finalizers,
      ownerReferences: [owner("u-1"), owner("u-2")],
    });
  });

  it("whose managed fields repeat a long name in thousands of paths is taken for none of ours", async () => {
    const fields = Object.fromEntries(numbered(5000, "f:").map(([name]) => [name, {}]));
    const fieldsV1 = { [`f:${"x".repeat(1000)}`]: fields };
    const managedFields = [{ manager: "m", operation: "Update", apiVersion: "v1", fieldsType: "FieldsV1", fieldsV1 }];
    const { status, json } = await call(
      "PATCH",
      `${cvis}/live?dryRun=All`,
      { metadata: { managedFields } },
      forms.mergePatch,
    );
    expect(status).toBe(200);
    expect(JSON.stringify(json).length).toBeLessThan(5000);
  });
});

describe("an object", () => {
  it("that is larger than what is stored is refused", async () => {
    const caBundle = Buffer.alloc(900_000, "x").toString("base64");
    const spec = { dataSource: { type: "HTTP", http: { url: "https://example.com/x", caBundle } } };
    expect(await call("POST", cvis, { ...image("large"), spec })).toMatchObject({
      status: 413,
      json: { message: "Request entity too large: limit is 1048576 for an object" },
    });
  });

  it("is told of a hundred of its problems, and of unknown fields as many times as the API server does", async () => {
    const wrong = Object.fromEntries(numbered(250, "-"));
    const { status, json } = await call("POST", cvis, image("problems", { labels: wrong }));
    expect([status, fieldsOf(json).length]).toEqual([422, 100]);
    const { headers } = await call("POST", `${cvis}?dryRun=All`, { ...image("warned"), ...labels(1000) });
    const warnings = headers["warning"] as unknown as string[];
    expect(warnings[0]).toBe('299 - "unknown field \\"l0\\""');
    expect(warnings.length).toBe(100);
    expect(warnings.join("").length).toBeLessThan(6000);
  });

  it("in YAML is told of all its repeated fields", async () => {
    const yaml = yamlOf("twice", "a: 1\na: 2\nb:\n  - {c: 1, c: 2}\n");
    const { status, json } = await call("POST", `${cvis}?fieldValidation=Strict`, yaml, "application/yaml");
    expect(status).toBe(400);
    expect(json["message"]).toContain('duplicate field "a", duplicate field "b[0].c"');
  });
});

describe("a selector", () => {
  it.each<[string, string]>([
    [
      "of too many labels",
      `labelSelector=${encodeURIComponent(
        numbered(65, "!a")
          .map(([name]) => name)
          .join(","),
      )}`,
    ],
    [
      "of too many values",
      `labelSelector=${encodeURIComponent(
        `a in (${numbered(1001, "b")
          .map(([name]) => name)
          .join(",")})`,
      )}`,
    ],
    ["of too many fields", `fieldSelector=${encodeURIComponent("metadata.name!=a,".repeat(65))}`],
  ])("%s is refused", async (_what, query) => {
    expect(await call("GET", `${cvis}?${query}`)).toMatchObject({
      status: 400,
      json: { message: expect.stringMatching(/^a selector (?:has|compares with) at most/) as unknown },
    });
  });
});

/** Each level is a list of nine of the level before: `levels` lines for 9^levels values. */
function aliases(levels: number): string {
  const lines = ["a0: &a0 [x]"];
  for (let level = 1; level <= levels; level += 1)
    lines.push(`a${level}: &a${level} [${Array.from({ length: 9 }, () => `*a${level - 1}`).join(", ")}]`);
  return lines.join("\n");
}

/** Each level holds the one before. */
function chain(levels: number): string {
  const lines = ["a0: &a0 [x]"];
  for (let level = 1; level <= levels; level += 1) lines.push(`a${level}: &a${level} [*a${level - 1}]`);
  return lines.join("\n");
}
