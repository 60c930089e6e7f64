/** The service next to a real kube-apiserver with the same kinds: the same requests, the same codes and reasons. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Agent, request as send } from "undici";
import { parse } from "yaml";

import { ServeProcess } from "../support/service-serve.ts";
import { eventually } from "../support/pod.ts";
import { patches, secretChanges, updates } from "./support/api-changes.ts";
import { creates } from "./support/api-creates.ts";
import { abouts, deletes, reads } from "./support/api-reads.ts";
import {
  applyYaml,
  cvi,
  cvis,
  liveName,
  merge,
  secret,
  secrets,
  type Answer,
  type Json,
  type Request,
  type Row,
} from "./support/api-requests.ts";
import { apply, clusterSetting, kubectl } from "./support/cluster.ts";
import { customResourceDefinitions } from "./support/crds.ts";

interface Server {
  readonly url: string;
  readonly token?: string;
  readonly agent?: Agent;
}

let real: Server;
let ours: Server;
let service: ServeProcess | undefined;

beforeAll(async () => {
  await apply("default", ...customResourceDefinitions());
  await kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all");
  real = realServer();
  service = await ServeProcess.start();
  ours = { url: service.url };
  for (const server of [real, ours]) await makeLive(server);
});

afterAll(async () => {
  await service?.[Symbol.asyncDispose]();
  await real.agent?.close();
  await kubectl("-n", "default", "delete", "secret", liveName);
  await kubectl(
    "delete",
    "crd",
    ...customResourceDefinitions().map((one) => (one as { metadata: { name: string } }).metadata.name),
  );
});

/** From the cluster's kubeconfig. */
function realServer(): Server {
  const config = parse(readFileSync(clusterSetting("KUBECONFIG"), "utf8")) as {
    clusters: [{ cluster: { server: string; "certificate-authority": string } }];
    users: [{ user: { token: string } }];
  };
  const { server, "certificate-authority": ca } = config.clusters[0].cluster;
  return {
    url: server,
    token: config.users[0].user.token,
    agent: new Agent({ connect: { ca: readFileSync(ca) } }),
  };
}

async function ask({ url, token, agent }: Server, request: Request): Promise<{ code: number; text: string }> {
  const { method, path, body, type = "application/json", accept = "application/json" } = request;
  const { statusCode, body: answer } = await send(`${url}${path}`, {
    method: method as "GET",
    headers: {
      accept,
      ...(body === undefined ? {} : { "content-type": type }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    ...(agent === undefined ? {} : { dispatcher: agent }),
  });
  return { code: statusCode, text: await answer.text() };
}

/** An image that waits for its upload, one label of it applied by a manager; the real server has no controller. */
async function makeLive(server: Server): Promise<void> {
  const path = `${cvis}/${liveName}`;
  const applied = cvi(liveName, { labels: { held: "theirs" } });
  const made = await ask(server, {
    method: "PATCH",
    path: `${path}?fieldManager=holder`,
    body: applied,
    type: applyYaml,
  });
  expect(made.code, made.text).toBe(201);
  const held = await ask(server, { method: "POST", path: secrets, body: secret(liveName) });
  expect(held.code, held.text).toBe(201);
  if (server === real) {
    const status = { phase: "WaitForUserUpload" };
    const set = await ask(server, { method: "PATCH", path: `${path}/status`, body: { status }, type: merge });
    expect(set.code, set.text).toBe(200);
  } else
    await eventually(
      async () => ((await liveOf(server))["status"] as Json | undefined)?.["phase"] === "WaitForUserUpload",
    );
}

async function liveOf(server: Server): Promise<Json> {
  return JSON.parse((await ask(server, { method: "GET", path: `${cvis}/${liveName}` })).text) as Json;
}

/** The code, and the reason where it is a refusal. */
async function answerOf(server: Server, { request }: Row): Promise<Answer> {
  const { code, text } = await ask(server, typeof request === "function" ? request(await liveOf(server)) : request);
  if (code < 400) return [code];
  try {
    const { reason } = JSON.parse(text) as { reason?: string };
    return reason === undefined ? [code] : [code, reason];
  } catch {
    return [code];
  }
}

const rows = [...creates, ...updates, ...patches, ...secretChanges, ...deletes, ...reads, ...abouts];
type Titled<T> = [title: string, row: T];
const alike = rows.flatMap((row): Titled<Row>[] => (row.differs === undefined ? [[row.what, row]] : []));
const different = rows.flatMap((row): Titled<Required<Row>>[] =>
  row.differs === undefined ? [] : [[`${row.what}: ${row.differs.why}`, { ...row, differs: row.differs }]],
);

describe("the service answers as a kube-apiserver does", () => {
  it.each(alike)("%s", async (_title, row) => {
    expect(await answerOf(ours, row)).toEqual(await answerOf(real, row));
  });
});

describe("the service answers otherwise, on purpose", () => {
  it.each(different)("%s", async (_title, row) => {
    expect(await answerOf(ours, row)).toEqual(row.differs.ours);
    expect(await answerOf(real, row)).not.toEqual(row.differs.ours);
  });
});
