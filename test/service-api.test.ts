import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { User } from "../src/service/security/authorize.ts";
import { cvi, cvis, group, patchAs, secret, secrets, vi, vis } from "./support/api-drafts.ts";
import { type Json, startApi, type TestApi } from "./support/service-api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startApi({ keptChanges: 1000 });
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
});

const call = async (
  method: string,
  url: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
  user?: User,
): Promise<{ status: number; json: Json; warnings: string }> => {
  const response = await api.request(method, url, body, headers, user);
  return {
    status: response.statusCode,
    json: response.json<Json>(),
    warnings: response.headers["warning"]?.toString() ?? "",
  };
};

describe("discovery", () => {
  it("lists groups and resources, with short names, categories and verbs", async () => {
    expect((await call("GET", "/apis")).json).toMatchObject({
      kind: "APIGroupList",
      groups: expect.arrayContaining([expect.objectContaining({ name: "virtualization.deckhouse.io" })]) as unknown,
    });
    expect((await call("GET", group)).json["resources"]).toContainEqual({
      name: "clustervirtualimages",
      singularName: "clustervirtualimage",
      namespaced: false,
      kind: "ClusterVirtualImage",
      verbs: ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"],
      shortNames: ["cvi", "cvis"],
      categories: ["virtualization-cluster"],
    });
    expect((await call("GET", "/api/v1")).json["resources"]).toHaveLength(3);
  });

  it.each(["v2", "v2beta1"])("gives everything in one answer where apidiscovery %s is asked for", async (version) => {
    const accept = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList,application/json`;
    const response = await api.request("GET", "/apis", undefined, { accept });
    expect(response.headers["content-type"]).toBe(
      `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`,
    );
    const { items } = response.json<{
      items: { metadata: { name: string }; versions: { resources: { resource: string; scope: string }[] }[] }[];
    }>();
    const own = items.find(({ metadata }) => metadata.name === "virtualization.deckhouse.io");
    expect(own?.versions[0]?.resources.map(({ resource, scope }) => [resource, scope])).toEqual([
      ["clustervirtualimages", "Cluster"],
      ["virtualimages", "Namespaced"],
    ]);
  });

  it("serves each OpenAPI v3 document under the hash that the index names, to be kept", async () => {
    const { paths } = (await call("GET", "/openapi/v3")).json as {
      paths: Record<string, { serverRelativeURL: string }>;
    };
    expect(Object.keys(paths)).toEqual(["api/v1", "apis/virtualization.deckhouse.io/v1alpha2"]);
    const response = await api.request("GET", paths["apis/virtualization.deckhouse.io/v1alpha2"]!.serverRelativeURL);
    expect(response.headers["cache-control"]).toContain("immutable");
    const document = response.json<{
      paths: Record<string, { patch?: { parameters: { name: string }[] } }>;
      components: { schemas: Record<string, Json> };
    }>();
    expect(document.paths[`${cvis}/{name}`]?.patch?.parameters.map(({ name }) => name)).toContain("fieldValidation");
    expect(document.components.schemas["io.deckhouse.virtualization.v1alpha2.VirtualImage"]).toMatchObject({
      "x-kubernetes-group-version-kind": [{ kind: "VirtualImage" }],
      required: ["spec"],
    });
  });

  it("serves OpenAPI v2 as JSON and as protobuf", async () => {
    expect((await call("GET", "/openapi/v2")).json).toMatchObject({ swagger: "2.0" });
    const response = await api.request("GET", "/openapi/v2", undefined, {
      accept: "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    });
    expect(response.headers["content-type"]).toBe("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    expect(response.rawPayload.includes("io.deckhouse.virtualization.v1alpha2.ClusterVirtualImage")).toBe(true);
  });
});

describe("errors", () => {
  it("tells of an object that is not there, by its resource and name", async () => {
    expect(await call("GET", `${cvis}/none`)).toMatchObject({
      status: 404,
      json: {
        kind: "Status",
        reason: "NotFound",
        code: 404,
        message: 'clustervirtualimages.virtualization.deckhouse.io "none" not found',
        details: { name: "none", kind: "clustervirtualimages" },
      },
    });
  });

  it("tells of a name that is taken", async () => {
    await call("POST", cvis, cvi("taken"));
    expect(await call("POST", cvis, cvi("taken"))).toMatchObject({
      status: 409,
      json: {
        reason: "AlreadyExists",
        message: 'clustervirtualimages.virtualization.deckhouse.io "taken" already exists',
      },
    });
  });

  it.each<[string, Json, string, string]>([
    ["URL", { type: "HTTP", http: { url: "ftp://example.com/x" } }, "spec.dataSource.http.url", "FieldValueInvalid"],
    ["missing URL", { type: "HTTP", http: {} }, "spec.dataSource.http.url", "FieldValueRequired"],
    ["type", { type: "Torrent" }, "spec.dataSource.type", "FieldValueNotSupported"],
    ["missing type", {}, "spec.dataSource.type", "FieldValueRequired"],
    ["kind of type", { type: 7 }, "spec.dataSource.type", "FieldValueTypeInvalid"],
    [
      "MD5",
      { type: "HTTP", http: { url: "https://e.com/x", checksum: { md5: "12" } } },
      "spec.dataSource.http.checksum.md5",
      "FieldValueInvalid",
    ],
    [
      "SHA-256",
      { type: "Upload", upload: { checksum: { sha256: "zz" } } },
      "spec.dataSource.upload.checksum.sha256",
      "FieldValueInvalid",
    ],
    [
      "CA bundle",
      { type: "HTTP", http: { url: "https://e.com/x", caBundle: "%" } },
      "spec.dataSource.http.caBundle",
      "FieldValueInvalid",
    ],
    [
      "image",
      { type: "ContainerImage", containerImage: { image: "UPPER" } },
      "spec.dataSource.containerImage.image",
      "FieldValueInvalid",
    ],
    [
      "member of another type",
      { type: "HTTP", http: { url: "https://e.com/x" }, upload: {} },
      "spec.dataSource",
      "FieldValueInvalid",
    ],
    [
      "kind of a reference",
      { type: "ObjectRef", objectRef: { kind: "Pod", name: "x" } },
      "spec.dataSource.objectRef.kind",
      "FieldValueNotSupported",
    ],
    [
      "namespace of a reference",
      { type: "ObjectRef", objectRef: { kind: "VirtualImage", name: "x" } },
      "spec.dataSource.objectRef",
      "FieldValueInvalid",
    ],
  ])("names the field and the reason of an invalid %s", async (_what, dataSource, field, reason) => {
    const { status, json } = await call("POST", cvis, cvi("invalid", { dataSource }));
    expect(status).toBe(422);
    expect(json["message"]).toMatch(/^ClusterVirtualImage\.virtualization\.deckhouse\.io "invalid" is invalid: /);
    expect((json["details"] as { causes: Json[] }).causes).toContainEqual(expect.objectContaining({ field, reason }));
  });

  it.each<[string, Json, string]>([
    ["name", { name: "Upper_Case" }, "metadata.name"],
    ["label's value", { labels: { os: "a b" } }, "metadata.labels"],
    ["label's name", { labels: { "a b": "x" } }, "metadata.labels"],
    ["annotation's name", { annotations: { "-": "x" } }, "metadata.annotations"],
    ["finalizer", { finalizers: ["not one"] }, "metadata.finalizers"],
  ])("refuses an invalid %s", async (_what, metadata, field) => {
    const { status, json } = await call("POST", cvis, cvi("metadata", undefined, metadata));
    expect(status).toBe(422);
    expect((json["details"] as { causes: Json[] }).causes.map((cause) => cause["field"])).toEqual([field]);
  });

  it.each<[string, string, string, unknown, Record<string, string>, number, string]>([
    ["a method that a resource lacks", "DELETE", "/api/v1/namespaces", undefined, {}, 405, "MethodNotAllowed"],
    [
      "a path that is none",
      "GET",
      "/apis/virtualization.deckhouse.io/v1alpha2/virtualdisks",
      undefined,
      {},
      404,
      "NotFound",
    ],
    [
      "a patch type that custom resources lack",
      "PATCH",
      `${cvis}/taken`,
      {},
      patchAs("application/strategic-merge-patch+json"),
      415,
      "UnsupportedMediaType",
    ],
    ["a body of another type", "POST", cvis, "x", patchAs("text/plain"), 415, "UnsupportedMediaType"],
    ["an answer of another type", "GET", cvis, undefined, { accept: "text/html" }, 406, "NotAcceptable"],
    ["a body that is no JSON", "POST", cvis, "{", {}, 400, "BadRequest"],
    ["a body that is no object", "POST", cvis, "[]", {}, 400, "BadRequest"],
    ["a body of another kind", "POST", cvis, vi("x"), {}, 422, "Invalid"],
    [
      "a body that is nested too deeply",
      "POST",
      cvis,
      `${'{"a":'.repeat(100)}1${"}".repeat(100)}`,
      {},
      400,
      "BadRequest",
    ],
    [
      "a member that would reach a prototype",
      "POST",
      cvis,
      '{"metadata":{"__proto__":{"name":"x"}}}',
      {},
      400,
      "BadRequest",
    ],
    ["labels of a wrong type", "POST", cvis, cvi("x", undefined, { labels: { a: 1 } }), {}, 400, "BadRequest"],
    ["a body that is too large", "POST", cvis, `"${"x".repeat(3 * 1024 * 1024)}"`, {}, 413, "RequestEntityTooLarge"],
    ["a selector that is none", "GET", `${cvis}?labelSelector=a%20b`, undefined, {}, 400, "BadRequest"],
    ["a field that cannot be selected by", "GET", `${cvis}?fieldSelector=spec.x%3D1`, undefined, {}, 400, "BadRequest"],
    ["a version that is none", "GET", `${cvis}?resourceVersion=x`, undefined, {}, 400, "BadRequest"],
    ["a version that is not reached", "GET", `${cvis}?resourceVersion=999999`, undefined, {}, 504, "Timeout"],
    ["a dryRun that is none", "POST", `${cvis}?dryRun=Some`, cvi("x"), {}, 422, "Invalid"],
    [
      "another name than the path's",
      "PUT",
      `${cvis}/taken`,
      cvi("other", undefined, { resourceVersion: "1" }),
      {},
      400,
      "BadRequest",
    ],
  ])("refuses %s", async (_what, method, url, body, headers, status, reason) => {
    expect(await call(method, url, body, headers)).toMatchObject({
      status,
      json: { kind: "Status", status: "Failure", reason, code: status },
    });
  });

  it("asks for a user", async () => {
    expect(await call("GET", cvis, undefined, {}, undefined)).toMatchObject({ status: 200 });
    expect(await call("GET", cvis, undefined, { "x-test-user": "nobody" })).toMatchObject({
      status: 401,
      json: { reason: "Unauthorized", message: "Unauthorized" },
    });
  });
});

describe("unknown and repeated fields", () => {
  const body = JSON.stringify(
    cvi("fields", { dataSource: { type: "HTTP", typ: "HTTP", http: { url: "https://e.com/x" } } }, { foo: 1 }),
  ).replace('"type":"HTTP"', '"type":"Upload","type":"HTTP"');

  it("are refused with all of them named where the client is strict", async () => {
    expect(await call("POST", `${cvis}?fieldValidation=Strict`, body)).toMatchObject({
      status: 400,
      json: {
        reason: "BadRequest",
        message:
          'ClusterVirtualImage in version "v1alpha2" cannot be handled as a ClusterVirtualImage: ' +
          'strict decoding error: duplicate field "spec.dataSource.type", unknown field ' +
          '"metadata.foo", unknown field "spec.dataSource.typ"',
      },
    });
  });

  it("are warned of and dropped where it is not", async () => {
    const { status, json, warnings } = await call("POST", `${cvis}?fieldValidation=Warn&dryRun=All`, body);
    expect(status).toBe(201);
    expect(warnings).toContain('299 - "unknown field \\"spec.dataSource.typ\\""');
    expect(json["spec"]).toEqual({ dataSource: { type: "HTTP", http: { url: "https://e.com/x" } } });
    expect(await call("POST", `${cvis}?fieldValidation=Ignore&dryRun=All`, body)).toMatchObject({
      status: 201,
      warnings: "",
    });
  });

  it("are refused in patches, which never show a secret", async () => {
    await call("POST", secrets("strict"), secret("s"));
    const { status, json } = await call(
      "PATCH",
      `${secrets("strict")}/s?fieldValidation=Strict`,
      { foo: 1 },
      patchAs("application/merge-patch+json"),
    );
    expect(status).toBe(422);
    expect(json["message"]).toContain('strict decoding error: unknown field "foo"');
    expect(JSON.stringify(json)).not.toContain('dockerconfigjson\\":');
  });
});

describe("create", () => {
  it("sets what the server owns and ignores what the client says of it", async () => {
    const { status, json } = await call("POST", cvis, {
      ...cvi("owned", undefined, { uid: "mine", generation: 9, deletionTimestamp: "2020-01-01T00:00:00Z" }),
      status: { phase: "Ready" },
    });
    expect(status).toBe(201);
    expect(json["metadata"]).toMatchObject({ name: "owned", generation: 1 });
    expect(json["metadata"]).not.toHaveProperty("deletionTimestamp");
    expect((json["metadata"] as Json)["uid"]).not.toBe("mine");
    expect(json).not.toHaveProperty("status");
  });

  it("completes generateName", async () => {
    const { json } = await call("POST", cvis, cvi("", undefined, { name: undefined, generateName: "made-" }));
    expect((json["metadata"] as Json)["name"]).toMatch(/^made-[a-z0-9]{5}$/);
  });

  it("makes the namespace, and adds defaults", async () => {
    const { json } = await call("POST", vis("team-new"), vi("first"));
    expect(json).toMatchObject({ metadata: { namespace: "team-new" }, spec: { storage: "ContainerRegistry" } });
    expect(await call("GET", "/api/v1/namespaces/team-new")).toMatchObject({
      status: 200,
      json: { status: { phase: "Active" }, metadata: { labels: { "kubernetes.io/metadata.name": "team-new" } } },
    });
  });

  it("refuses a namespace that is no name", async () => {
    expect(await call("POST", vis("Not%20One"), vi("first"))).toMatchObject({
      status: 422,
      json: { details: { causes: [{ field: "metadata.namespace" }] } },
    });
  });

  it("stores nothing in a dry run, not even a namespace", async () => {
    expect(await call("POST", `${vis("team-dry")}?dryRun=All`, vi("first"))).toMatchObject({
      status: 201,
      json: { metadata: { name: "first", generation: 1 } },
    });
    expect(await call("GET", `${vis("team-dry")}/first`)).toMatchObject({ status: 404 });
    expect(await call("GET", "/api/v1/namespaces/team-dry")).toMatchObject({ status: 404 });
    await call("POST", cvis, cvi("dry-taken"));
    expect(await call("POST", `${cvis}?dryRun=All`, cvi("dry-taken"))).toMatchObject({ status: 409 });
  });

  it("takes YAML, and answers in it", async () => {
    const yaml =
      "apiVersion: virtualization.deckhouse.io/v1alpha2\nkind: ClusterVirtualImage\nmetadata: " +
      "{name: from-yaml}\nspec:\n  dataSource:\n    type: Upload\n";
    const response = await api.request("POST", cvis, yaml, {
      "content-type": "application/yaml",
      accept: "application/yaml",
    });
    expect(response.statusCode).toBe(201);
    expect(response.body).toContain("    type: Upload\n");
  });

  it("keeps names of 253 characters reachable", async () => {
    const name = "a".repeat(253);
    await call("POST", cvis, cvi(name));
    expect(await call("GET", `${cvis}/${name}`)).toMatchObject({ status: 200 });
  });
});
