/** Answers to requests with a mistake in them: codes and reasons as those of a kube-apiserver. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { startApi, type Json, type TestApi } from "./support/service-api.ts";

const group = "/apis/virtualization.deckhouse.io/v1alpha2";
const cvis = `${group}/clustervirtualimages`;
const merge = { "content-type": "application/merge-patch+json" };

const image = (name: string, metadata: Json = {}): Json => ({
  apiVersion: "virtualization.deckhouse.io/v1alpha2",
  kind: "ClusterVirtualImage",
  metadata: { name, ...metadata },
  spec: { dataSource: { type: "Upload" } },
});
const owner = { apiVersion: "v1", kind: "Namespace", name: "default", uid: "u-1" };

let api: TestApi;
let live: Json;
beforeAll(async () => {
  api = await startApi();
  live = (await api.request("POST", cvis, image("live"))).json<Json>();
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
});

/** Code, reason and the fields that are named. */
async function answer(
  method: string,
  url: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<readonly [number, string | undefined, readonly string[]]> {
  const response = await api.request(method, url, body, headers);
  const { reason, details } = response.json<{ reason?: string; details?: { causes?: { field: string }[] } }>();
  return [response.statusCode, reason, (details?.causes ?? []).map(({ field }) => field)];
}

const noKind = { ...image("new"), kind: undefined };
const noVersion = { ...image("new"), apiVersion: undefined };

describe("a create", () => {
  it.each<[string, Json, number, string | undefined, string[]]>([
    ["without a kind", noKind, 400, "BadRequest", []],
    ["without a version", noVersion, 400, "BadRequest", []],
    ["of a kind that is none", { ...image("new"), kind: "Nonsense" }, 422, "Invalid", ["kind"]],
    ["of another kind", { ...image("new"), kind: "VirtualImage" }, 422, "Invalid", ["kind"]],
    [
      "whose owner has no uid",
      image("new", { ownerReferences: [{ ...owner, uid: undefined }] }),
      422,
      "Invalid",
      ["metadata.ownerReferences.uid"],
    ],
    [
      "with two controllers",
      image("new", {
        ownerReferences: [
          { ...owner, controller: true },
          { ...owner, uid: "u-2", controller: true },
        ],
      }),
      422,
      "Invalid",
      ["metadata.ownerReferences"],
    ],
    ["with a finalizer that has no domain", image("new", { finalizers: ["mine"] }), 201, undefined, []],
  ])("%s", async (_what, body, code, reason, fields) => {
    expect(await answer("POST", `${cvis}?dryRun=All`, body)).toEqual([code, reason, fields]);
  });

  it("of a Secret needs a domain in its finalizers, and no kind", async () => {
    const secret = {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "s", finalizers: ["mine"] },
      type: "kubernetes.io/dockerconfigjson",
      stringData: { ".dockerconfigjson": "{}" },
    };
    const url = "/api/v1/namespaces/team/secrets?dryRun=All";
    expect(await answer("POST", url, secret)).toEqual([422, "Invalid", ["metadata.finalizers"]]);
    const untyped = { ...secret, metadata: { name: "s" }, apiVersion: undefined, kind: undefined };
    expect(await answer("POST", url, untyped)).toEqual([201, undefined, []]);
  });

  it("of a Secret whose data is no base64 cannot be read", async () => {
    const secret = {
      metadata: { name: "s" },
      type: "kubernetes.io/dockerconfigjson",
      data: { ".dockerconfigjson": "%" },
    };
    const url = "/api/v1/namespaces/team/secrets?dryRun=All";
    expect(await answer("POST", url, secret)).toEqual([400, "BadRequest", []]);
  });

  it("takes the old name of storage on a volume", async () => {
    const body = {
      ...image("old"),
      kind: "VirtualImage",
      spec: { storage: "Kubernetes", dataSource: { type: "Upload" } },
    };
    const url = `${group}/namespaces/team/virtualimages?dryRun=All`;
    expect(await answer("POST", url, body)).toEqual([201, undefined, []]);
  });
});

describe("an update", () => {
  it("of an object that is not there", async () => {
    expect(await answer("PUT", `${cvis}/none`, image("none"))).toEqual([404, "NotFound", []]);
  });

  it("under another name, with or without a version", async () => {
    expect(await answer("PUT", `${cvis}/live`, image("other"))).toEqual([400, "BadRequest", []]);
  });

  it("with another uid: a field of a patch, a precondition of a PUT", async () => {
    expect(await answer("PATCH", `${cvis}/live`, { metadata: { uid: "other" } }, merge)).toEqual([
      422,
      "Invalid",
      ["metadata.uid"],
    ]);
    const replaced = { ...live, metadata: { ...(live["metadata"] as Json), uid: "other" } };
    expect(await answer("PUT", `${cvis}/live`, replaced)).toEqual([409, "Conflict", []]);
  });

  it.each<[string, Json]>([
    ["without a name", { name: undefined }],
    ["with a time that is none", { creationTimestamp: "yesterday" }],
  ])("%s", async (_what, change) => {
    const replaced = { ...live, metadata: { ...(live["metadata"] as Json), ...change } };
    expect(await answer("PUT", `${cvis}/live`, replaced)).toEqual([400, "BadRequest", []]);
  });

  it.each<[string, Json, number, string, string[]]>([
    [
      "of a deletion time",
      { metadata: { deletionTimestamp: "2020-01-01T00:00:00Z" } },
      422,
      "Invalid",
      ["metadata.deletionTimestamp"],
    ],
    ["that takes the kind away", { kind: null }, 422, "Invalid", ["patch"]],
    ["of the version", { apiVersion: "v1" }, 422, "Invalid", ["patch"]],
    ["that takes the name away", { metadata: { name: null } }, 400, "BadRequest", []],
  ])("by a patch %s", async (_what, body, code, reason, fields) => {
    expect(await answer("PATCH", `${cvis}/live`, body, merge)).toEqual([code, reason, fields]);
  });

  it("by apply, of another kind", async () => {
    const body = { ...image("live"), kind: "VirtualImage" };
    const type = { "content-type": "application/apply-patch+yaml" };
    expect(await answer("PATCH", `${cvis}/live?fieldManager=me`, body, type)).toEqual([400, "BadRequest", []]);
  });

  it("of a Secret by strategic merge patch does not touch its kind, and knows its directives", async () => {
    const url = "/api/v1/namespaces/team/secrets";
    const secret = {
      metadata: { name: "kept" },
      type: "kubernetes.io/dockerconfigjson",
      stringData: { ".dockerconfigjson": "{}" },
    };
    expect((await answer("POST", url, secret))[0]).toBe(201);
    const type = { "content-type": "application/strategic-merge-patch+json" };
    expect(await answer("PATCH", `${url}/kept`, { kind: "ConfigMap" }, type)).toEqual([200, undefined, []]);
    expect((await api.request("GET", `${url}/kept`)).json<Json>()["kind"]).toBe("Secret");
    expect(await answer("PATCH", `${url}/kept`, { $patch: "twist" }, type)).toEqual([400, "BadRequest", []]);
  });

  it.each<[string, Json, string[]]>([
    ["a phase that is none", { phase: "Nope" }, ["status.phase"]],
    ["a member of a wrong type", { cdrom: "yes" }, ["status"]],
  ])("of the status, with %s", async (_what, status, fields) => {
    expect(await answer("PATCH", `${cvis}/live/status`, { status }, merge)).toEqual([422, "Invalid", fields]);
    expect(await answer("PUT", `${cvis}/live/status`, { ...live, status })).toEqual([422, "Invalid", fields]);
  });

  it("of the status keeps each member of the platform's", async () => {
    const status = {
      phase: "PVCLost",
      sourceUID: "u",
      uploadCommand: "curl",
      storageClassName: "fast",
      usedInNamespaces: ["team"],
      target: { persistentVolumeClaimName: "claim" },
    };
    const response = await api.request("PATCH", `${cvis}/live/status?dryRun=All`, { status }, merge);
    expect(response.json<Json>()["status"]).toEqual(status);
  });
});

describe("a delete", () => {
  it.each<[string, Json]>([
    ["an unknown propagation policy", { propagationPolicy: "Sideways" }],
    ["two policies", { propagationPolicy: "Orphan", orphanDependents: true }],
  ])("with %s is refused", async (_what, options) => {
    expect(await answer("DELETE", `${cvis}/live`, options)).toEqual([422, "Invalid", ["propagationPolicy"]]);
    const query = new URLSearchParams(
      Object.entries(options).map(([name, value]): [string, string] => [name, String(value)]),
    );
    expect((await answer("DELETE", `${cvis}/live?${query.toString()}`))[0]).toBe(422);
    expect((await answer("GET", `${cvis}/live`))[0]).toBe(200);
  });
});

it("a delete whose body is no DeleteOptions is refused", async () => {
  expect(await answer("DELETE", `${cvis}/live`, { kind: "Pod", apiVersion: "v1" })).toEqual([400, "BadRequest", []]);
});

it.each(["/version/", "/api/", "/apis/", "/api/v1/", `${group}/`, `${cvis}/`, `${cvis}/live/`])(
  "%s answers as without the slash",
  async (path) => {
    const [slashed, plain] = [await api.request("GET", path), await api.request("GET", path.slice(0, -1))];
    expect([slashed.statusCode, slashed.json()]).toEqual([200, plain.json()]);
  },
);
