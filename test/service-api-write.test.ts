import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { User } from "../src/service/security/authorize.ts";
import { cvi, cvis, patchAs, secret, secrets } from "./support/api-drafts.ts";
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

describe("update", () => {
  it("needs the version that it is of, and takes no other", async () => {
    const { json: created } = await call("POST", cvis, cvi("update"));
    const changed = { ...created, spec: { dataSource: { type: "Upload" } } };
    expect(await call("PUT", `${cvis}/update`, cvi("update"))).toMatchObject({
      status: 422,
      json: {
        message: expect.stringContaining(
          "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update",
        ) as unknown,
      },
    });
    expect(await call("PUT", `${cvis}/update?dryRun=All`, changed)).toMatchObject({
      status: 200,
      json: { metadata: { generation: 2 } },
    });
    expect(await call("PUT", `${cvis}/update`, changed)).toMatchObject({
      status: 200,
      json: { metadata: { generation: 2 }, spec: { dataSource: { type: "Upload" } } },
    });
    expect(await call("PUT", `${cvis}/update`, changed)).toMatchObject({
      status: 409,
      json: {
        reason: "Conflict",
        message:
          "Operation cannot be fulfilled on clustervirtualimages.virtualization.deckhouse.io " +
          '"update": the object has been modified; please apply your changes to the latest version ' +
          "and try again",
      },
    });
  });

  it("changes the status by its subresource only, and by that nothing else", async () => {
    const { json: created } = await call("POST", cvis, cvi("with-status"));
    await call("PATCH", `${cvis}/with-status`, { status: { phase: "Ready" } }, patchAs("application/merge-patch+json"));
    expect((await call("GET", `${cvis}/with-status`)).json).not.toHaveProperty("status");
    const body = {
      spec: { dataSource: { type: "Upload" } },
      metadata: { labels: { a: "b" } },
      status: { phase: "Pending" },
    };
    const { json } = await call("PATCH", `${cvis}/with-status/status`, body, patchAs("application/merge-patch+json"));
    expect(json).toMatchObject({ status: { phase: "Pending" }, spec: created["spec"] });
    expect(json["metadata"]).not.toHaveProperty("labels");
    expect(
      await call(
        "PATCH",
        `${cvis}/with-status/status`,
        { status: { cdrom: "yes" } },
        patchAs("application/merge-patch+json"),
      ),
    ).toMatchObject({ status: 422 });
  });

  it("lets the spec change before Ready, and refuses it afterwards with the platform's reason", async () => {
    await call("POST", cvis, cvi("ready"));
    const change = { spec: { dataSource: { http: { url: "https://example.com/other.img" } } } };
    await api.setStatus("clustervirtualimages", "ready", { phase: "Provisioning" });
    expect(await call("PATCH", `${cvis}/ready`, change, patchAs("application/merge-patch+json"))).toMatchObject({
      status: 200,
    });
    await api.setStatus("clustervirtualimages", "ready", { phase: "Ready" });
    expect(await call("PATCH", `${cvis}/ready`, change, patchAs("application/merge-patch+json"))).toMatchObject({
      status: 200,
    });
    expect(
      await call(
        "PATCH",
        `${cvis}/ready`,
        { spec: { dataSource: { http: { url: "https://example.com/third.img" } } } },
        patchAs("application/merge-patch+json"),
      ),
    ).toMatchObject({
      status: 422,
      json: {
        reason: "Invalid",
        message:
          'ClusterVirtualImage.virtualization.deckhouse.io "ready" is invalid: spec: Forbidden: ' +
          "ClusterVirtualImage is in a Ready state: configuration changes are not available",
        details: { causes: [{ field: "spec", reason: "FieldValueForbidden" }] },
      },
    });
    expect(
      await call(
        "PATCH",
        `${cvis}/ready`,
        { metadata: { labels: { still: "possible" } } },
        patchAs("application/merge-patch+json"),
      ),
    ).toMatchObject({ status: 200 });
  });

  it("patches by JSON patch, whole or not at all", async () => {
    await call("POST", cvis, cvi("patched"));
    const type = patchAs("application/json-patch+json");
    const operations = [
      { op: "test", path: "/spec/dataSource/type", value: "HTTP" },
      { op: "add", path: "/metadata/labels", value: { a: "b" } },
    ];
    expect(await call("PATCH", `${cvis}/patched`, operations, type)).toMatchObject({
      status: 200,
      json: { metadata: { labels: { a: "b" } } },
    });
    const failing = [
      { op: "add", path: "/metadata/labels/c", value: "d" },
      { op: "test", path: "/spec/dataSource/type", value: "Upload" },
    ];
    expect(await call("PATCH", `${cvis}/patched`, failing, type)).toMatchObject({
      status: 422,
      json: { message: "the server rejected our request due to an error in our request" },
    });
    expect((await call("GET", `${cvis}/patched`)).json).toMatchObject({ metadata: { labels: { a: "b" } } });
    expect(await call("PATCH", `${cvis}/patched`, { not: "a list" }, type)).toMatchObject({ status: 400 });
    const doubling = Array.from({ length: 40 }, (_, index) => ({
      op: "copy",
      from: "/metadata",
      path: `/metadata/a${String(index)}`,
    }));
    expect(await call("PATCH", `${cvis}/patched`, doubling, type)).toMatchObject({ status: 413 });
    expect(await call("PATCH", `${cvis}/patched`, [{ op: "remove", path: "metadata" }], type)).toMatchObject({
      status: 400,
    });
  });

  it("patches of old versions are refused, others are done over what was written meanwhile", async () => {
    const { json } = await call("POST", cvis, cvi("raced"));
    const { resourceVersion } = json["metadata"] as Json;
    const label = (name: string, version?: unknown) =>
      call(
        "PATCH",
        `${cvis}/raced`,
        { metadata: { labels: { [name]: "x" }, ...(version === undefined ? {} : { resourceVersion: version }) } },
        patchAs("application/merge-patch+json"),
      );
    const answers = await Promise.all(["a", "b", "c", "d"].map((name) => label(name)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect((await call("GET", `${cvis}/raced`)).json).toMatchObject({
      metadata: { labels: { a: "x", b: "x", c: "x", d: "x" } },
    });
    expect(await label("e", resourceVersion)).toMatchObject({ status: 409 });
  });

  it("merges core kinds by strategic merge patch", async () => {
    await call(
      "POST",
      secrets("strategic"),
      secret("s", {
        metadata: { name: "s", labels: { a: "1", b: "2" }, finalizers: ["example.com/one", "example.com/two"] },
      }),
    );
    const body = {
      metadata: {
        labels: { $patch: "replace", c: "3" },
        finalizers: ["example.com/three"],
        "$deleteFromPrimitiveList/finalizers": ["example.com/one"],
        "$setElementOrder/finalizers": ["example.com/three"],
      },
    };
    const { status, json } = await call(
      "PATCH",
      `${secrets("strategic")}/s`,
      body,
      patchAs("application/strategic-merge-patch+json"),
    );
    expect(status).toBe(200);
    expect((json["metadata"] as Json)["labels"]).toEqual({ c: "3" });
    expect([...((json["metadata"] as Json)["finalizers"] as string[])].sort()).toEqual([
      "example.com/three",
      "example.com/two",
    ]);
  });
});
