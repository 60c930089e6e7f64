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

describe("delete", () => {
  it("removes at once, or waits for the finalizers", async () => {
    const { json } = await call("POST", cvis, cvi("gone"));
    const { uid } = json["metadata"] as Json;
    expect(await call("DELETE", `${cvis}/gone`, { preconditions: { uid: "other" } })).toMatchObject({ status: 409 });
    expect(await call("DELETE", `${cvis}/gone?dryRun=All`)).toMatchObject({ status: 200 });
    expect(
      await call("DELETE", `${cvis}/gone`, {
        kind: "DeleteOptions",
        apiVersion: "v1",
        propagationPolicy: "Background",
      }),
    ).toMatchObject({ status: 200, json: { kind: "Status", status: "Success", details: { name: "gone", uid } } });
    expect(await call("DELETE", `${cvis}/gone`)).toMatchObject({ status: 404 });

    await call("POST", cvis, cvi("held", undefined, { finalizers: ["example.com/hold"] }));
    expect(await call("DELETE", `${cvis}/held`)).toMatchObject({
      status: 200,
      json: { kind: "ClusterVirtualImage", metadata: { deletionTimestamp: expect.any(String) as unknown } },
    });
    const merge = patchAs("application/merge-patch+json");
    expect(
      await call(
        "PATCH",
        `${cvis}/held`,
        { metadata: { finalizers: ["example.com/hold", "example.com/more"] } },
        merge,
      ),
    ).toMatchObject({
      status: 422,
      json: { details: { causes: [{ field: "metadata.finalizers", reason: "FieldValueForbidden" }] } },
    });
    expect(await call("PATCH", `${cvis}/held`, { metadata: { finalizers: null } }, merge)).toMatchObject({
      status: 200,
    });
    expect(await call("GET", `${cvis}/held`)).toMatchObject({ status: 404 });
  });

  it("removes what a selector matches, of one namespace", async () => {
    for (const [name, tier] of [
      ["one", "a"],
      ["two", "b"],
      ["three", "a"],
    ] as const)
      await call("POST", vis("sweep"), { ...vi(name), metadata: { name, labels: { tier } } });
    const { json } = await call("DELETE", `${vis("sweep")}?labelSelector=tier%3Da`);
    expect((json["items"] as { metadata: Json }[]).map(({ metadata }) => metadata["name"])).toEqual(["one", "three"]);
    expect(((await call("GET", vis("sweep"))).json["items"] as unknown[]).length).toBe(1);
  });

  it("empties a namespace, which goes when the last image is gone and takes nothing new meanwhile", async () => {
    await call("POST", vis("ending"), { ...vi("held"), metadata: { name: "held", finalizers: ["example.com/hold"] } });
    await call("POST", secrets("ending"), secret("s"));
    expect(await call("DELETE", "/api/v1/namespaces/ending")).toMatchObject({
      status: 200,
      json: { status: { phase: "Terminating" } },
    });
    expect(await call("POST", vis("ending"), vi("late"))).toMatchObject({
      status: 403,
      json: { reason: "Forbidden", details: { causes: [{ reason: "NamespaceTerminating" }] } },
    });
    await expect.poll(async () => (await call("GET", `${secrets("ending")}/s`)).status).toBe(404);
    expect(await call("GET", "/api/v1/namespaces/ending")).toMatchObject({ status: 200 });
    await call(
      "PATCH",
      `${vis("ending")}/held`,
      { metadata: { finalizers: null } },
      patchAs("application/merge-patch+json"),
    );
    await expect.poll(async () => (await call("GET", "/api/v1/namespaces/ending")).status).toBe(404);
    expect(await call("DELETE", "/api/v1/namespaces/default")).toMatchObject({ status: 403 });
  });
});

describe("secrets", () => {
  it("keep their data out of tables, errors and the log", async () => {
    const made = secret("s");
    const text = (made["stringData"] as Record<string, string>)[".dockerconfigjson"]!;
    const stored = Buffer.from(text).toString("base64");
    expect(await call("POST", secrets("hidden"), made)).toMatchObject({
      status: 201,
      json: { data: { ".dockerconfigjson": stored } },
    });
    // The password stands in none of these as itself: it is base64 in the config, which is base64 in the object.
    const expectHidden = (body: string) => {
      for (const form of ["hunter2", "dTpodW50ZXIy", stored]) expect(body).not.toContain(form);
    };
    const table = await api.request("GET", secrets("hidden"), undefined, {
      accept: "application/json;as=Table;v=v1;g=meta.k8s.io",
    });
    expect(table.json<{ rows: { cells: unknown[] }[] }>().rows[0]?.cells.slice(0, 3)).toEqual([
      "s",
      "kubernetes.io/dockerconfigjson",
      1,
    ]);
    expectHidden(table.body);
    const refused = await api.request(
      "POST",
      secrets("hidden"),
      secret("bad", { stringData: { ".dockerconfigjson": "hunter2 is no JSON" } }),
    );
    expect(refused.statusCode).toBe(422);
    expect(refused.body).not.toContain("hunter2");
    const broken = await api.request("POST", secrets("hidden"), `{"kind":"Secret","data":{"x":"hunter2`);
    expect(broken.statusCode).toBe(400);
    expect(broken.body).not.toContain("hunter2");
    expectHidden(api.log.join(""));
  });

  it("are of one type, which stays", async () => {
    expect(await call("POST", secrets("types"), secret("opaque", { type: undefined }))).toMatchObject({
      status: 422,
      json: { message: expect.stringContaining('type: Unsupported value: "Opaque"') as unknown },
    });
    await call("POST", secrets("types"), secret("fixed", { immutable: true }));
    const patch = (body: Json) =>
      call("PATCH", `${secrets("types")}/fixed`, body, patchAs("application/strategic-merge-patch+json"));
    expect(await patch({ stringData: { ".dockerconfigjson": "{}" } })).toMatchObject({
      status: 422,
      json: { details: { causes: [{ field: "data", reason: "FieldValueForbidden" }] } },
    });
    expect(await patch({ immutable: false })).toMatchObject({
      status: 422,
      json: { details: { causes: [{ field: "immutable" }] } },
    });
  });
});

describe("rights", () => {
  const viewer: User = { name: "vera", groups: [], grants: [{ role: "view", namespaces: ["team-a"] }] };
  const editor: User = { name: "edith", groups: [], grants: [{ role: "edit" }] };

  it("are asked for with the verb, the resource and the namespace", async () => {
    expect(await call("GET", vis("team-a"), undefined, {}, viewer)).toMatchObject({ status: 200 });
    expect(await call("POST", vis("team-a"), vi("x"), {}, viewer)).toMatchObject({
      status: 403,
      json: {
        reason: "Forbidden",
        message:
          'virtualimages.virtualization.deckhouse.io is forbidden: User "vera" cannot create ' +
          'resource "virtualimages" in API group "virtualization.deckhouse.io" in the namespace ' +
          '"team-a"',
      },
    });
    expect(await call("GET", vis("team-b"), undefined, {}, viewer)).toMatchObject({ status: 403 });
    expect(await call("GET", `${group}/virtualimages`, undefined, {}, viewer)).toMatchObject({ status: 403 });
    expect(await call("GET", `${secrets("team-a")}?watch=1`, undefined, {}, viewer)).toMatchObject({
      status: 403,
      json: { message: expect.stringContaining("cannot watch") as unknown },
    });
    expect(
      await call("PATCH", `${cvis}/taken/status`, {}, patchAs("application/merge-patch+json"), editor),
    ).toMatchObject({
      status: 403,
      json: { message: expect.stringContaining('"clustervirtualimages/status"') as unknown },
    });
  });

  it("decide who sees upload URLs", async () => {
    await call("POST", cvis, cvi("uploading", { dataSource: { type: "Upload" } }));
    await api.setStatus("clustervirtualimages", "uploading", {
      phase: "WaitForUserUpload",
      imageUploadURLs: { external: "http://x/upload/TOKEN" },
    });
    const seen = async (url: string, user: User) => (await api.request("GET", url, undefined, {}, user)).body;
    for (const url of [`${cvis}/uploading`, cvis, `${cvis}/uploading/status`]) {
      expect(await seen(url, viewer)).not.toContain("TOKEN");
      expect(await seen(url, editor)).toContain("TOKEN");
    }
    expect((await call("GET", `${cvis}/uploading`, undefined, {}, viewer)).json).toMatchObject({
      status: { phase: "WaitForUserUpload" },
    });
  });

  it("can be asked for by those who have them", async () => {
    const review = (user: User, verb: string, namespace: string) =>
      call(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {
          spec: {
            resourceAttributes: { verb, resource: "virtualimages", group: "virtualization.deckhouse.io", namespace },
          },
        },
        {},
        user,
      );
    expect(await review(viewer, "list", "team-a")).toMatchObject({ status: 201, json: { status: { allowed: true } } });
    expect(await review(viewer, "delete", "team-a")).toMatchObject({ json: { status: { allowed: false } } });
    expect(await call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, {}, viewer)).toMatchObject({
      json: { status: { userInfo: { username: "vera" } } },
    });
  });
});
