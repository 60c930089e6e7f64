/**
 * What a server keeps an eye on by itself, seen on the real process: who changed what, who guesses, who may still come.
 */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import type { ImageObject } from "../src/service/model/image.ts";
import { Origin } from "./support/origin.ts";
import { eventually } from "./support/pod.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { imageDraft } from "./support/service-store-contract.ts";
import { temporaryDirectory } from "./support/tools.ts";

const images = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";
const secrets = "/api/v1/namespaces/team-a/secrets";
const root = { name: "root", token: "root-token-0123456789", roles: [{ role: "admin" }] };
const reader = { name: "reader", token: "reader-token-0123456789", roles: [{ role: "view" }] };

let work: Awaited<ReturnType<typeof temporaryDirectory>>;
let tokens: string;
let service: ServeProcess;

beforeAll(async () => {
  work = await temporaryDirectory();
  tokens = join(work.path, "tokens.json");
});
afterAll(() => rm(work.path, { recursive: true, force: true }));
afterEach(() => service[Symbol.asyncDispose]());

const allow = (...users: object[]): Promise<void> => writeFile(tokens, JSON.stringify({ users }));

async function start(settings = ""): Promise<void> {
  await allow(root, reader);
  const config = join(work.path, "serve.yaml");
  await writeFile(config, `tokenFile: ${tokens}\n${settings}`);
  service = await ServeProcess.start("--config", config);
}

function ask(
  path: string,
  token: string,
  method = "GET",
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  return fetch(`${service.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...sent,
  });
}

describe("the audit log", () => {
  it("has a line for every change, done or refused: who, what, which end; and no secret", async () => {
    await using origin = await Origin.start(Buffer.alloc(1 << 20, 1));
    await start("outboundAllowHosts: 127.0.0.1\n");
    const upload = { ...imageDraft("up"), spec: { dataSource: { type: "Upload" } } };
    await ask(images, root.token, "POST", imageDraft("one", { url: `${origin.url}/disk.img` }));
    await ask(`${images}?dryRun=All`, root.token, "POST", imageDraft("trial", { url: `${origin.url}/disk.img` }));
    await ask(images, root.token, "POST", upload);
    await ask(`${images}/one`, reader.token, "DELETE");
    await ask(images, "nobodys-token-0123456789", "POST", upload);
    const url = await eventually(
      async () =>
        ((await (await ask(`${images}/up`, root.token)).json()) as ImageObject).status?.imageUploadURLs?.inCluster,
    );
    expect((await fetch(url, { method: "PUT", body: Buffer.alloc(1 << 20, 2) })).status).toBe(200);
    await ask(`${images}/one`, root.token, "DELETE");

    const lines = (): unknown[] =>
      service.log
        .split("\n")
        .filter((line) => line.includes('"audit"'))
        .map((line) => (JSON.parse(line) as { audit: unknown }).audit);
    await eventually(() => lines().length >= 6);
    const change = {
      resource: "clustervirtualimages",
      group: "virtualization.deckhouse.io",
      namespace: "",
      from: "127.0.0.1",
    };
    expect(lines()).toEqual([
      { ...change, user: "root", verb: "create", name: "one", status: 201 },
      { ...change, user: "root", verb: "create", name: "trial", dryRun: true, status: 201 },
      { ...change, user: "root", verb: "create", name: "up", status: 201 },
      { ...change, user: "reader", verb: "delete", name: "one", status: 403 },
      { ...change, verb: "update", subresource: "upload", name: "up", status: 200 },
      { ...change, user: "root", verb: "delete", name: "one", status: 200 },
    ]);
    for (const secret of [root.token, reader.token, new URL(url).pathname]) expect(service.log).not.toContain(secret);
  });
});

describe("the limit of requests", () => {
  it("counts those with wrong tokens and those for nothing, too, and no probes", async () => {
    await start("requestsPerMinute: 6\n");
    const statuses: number[] = [];
    for (const path of [images, "/v2/", "/metrics", "/nothing", images, "/upload/x", images, "/v2/", "/nothing"])
      statuses.push((await ask(path, "guessed-token-0123456789")).status);
    expect(statuses).toEqual([401, 401, 401, 404, 401, 404, 429, 429, 429]);
    const refused = await ask(images, root.token);
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(refused.headers.get("x-content-type-options")).toBe("nosniff");
    expect((await fetch(`${service.url}/healthz`)).status).toBe(200);
  });
});

describe("a token that is withdrawn", () => {
  it("ends the watches that it has open, and no others", async () => {
    await start();
    const watch = async (token: string): Promise<{ text: string; isOver: boolean }> => {
      const seen = { text: "", isOver: false };
      const { body } = await ask(`${images}?watch=true`, token);
      void (async () => {
        for await (const part of body!.pipeThrough(new TextDecoderStream())) seen.text += part;
        seen.isOver = true;
      })();
      return seen;
    };
    const theirs = await watch(reader.token);
    const ours = await watch(root.token);
    await allow(root, { ...reader, token: "another-token-0123456789" });
    await eventually(() => theirs.isOver);
    await ask(images, root.token, "POST", { ...imageDraft("later"), spec: { dataSource: { type: "Upload" } } });
    await eventually(() => ours.text.includes('"later"'));
    expect(ours.isOver).toBe(false);
    expect(theirs.text).not.toContain('"later"');
  });
});

describe("answers", () => {
  it("of the first scrape tell what the store has", async () => {
    await start("capacity: 64Mi\n");
    const text = await (await ask("/metrics", root.token)).text();
    const value = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
    expect([
      value("dvcr_store_capacity_bytes"),
      value("dvcr_store_used_bytes"),
      value("dvcr_store_free_bytes"),
    ]).toEqual([64 << 20, 0, 64 << 20]);
    // Alerts count from what a series began with.
    expect(text).toMatch(
      /^dvcr_images_finished_total{kind="ClusterVirtualImage",phase="Failed",reason="ProvisioningFailed"} 0$/m,
    );
  });

  it("about Secrets hold none of their data, in tables and in metadata alone", async () => {
    await start();
    const data = {
      ".dockerconfigjson": Buffer.from(JSON.stringify({ auths: { "r.example": { auth: "dTpMRUFLTUU=" } } })).toString(
        "base64",
      ),
    };
    const annotations = { "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify({ data }), kept: "yes" };
    const made = await ask(secrets, root.token, "POST", {
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/dockerconfigjson",
      metadata: { name: "pull", annotations },
      data,
    });
    expect(made.status).toBe(201);
    for (const form of ["Table", "PartialObjectMetadataList"]) {
      const text = await (
        await ask(secrets, root.token, "GET", undefined, { accept: `application/json;as=${form};v=v1;g=meta.k8s.io` })
      ).text();
      expect(text).toContain('"kept":"yes"');
      expect(text).not.toContain(data[".dockerconfigjson"]);
    }
  });

  it("for a name that is not ours are 403 for container tools as well", async () => {
    service = await ServeProcess.start();
    const { statusCode, body } = await (
      await import("undici")
    ).request(`${service.url}/v2/`, { headers: { host: "rebound.example" } });
    expect(statusCode).toBe(403);
    expect(await body.json()).toMatchObject({ errors: [{ code: "DENIED" }] });
  });
});
