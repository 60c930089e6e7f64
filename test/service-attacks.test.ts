import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ImageObject } from "../src/service/model/image.ts";
import { Origin } from "./support/origin.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { tool } from "./support/tools.ts";

const group = "/apis/virtualization.deckhouse.io/v1alpha2";
const images = `${group}/clustervirtualimages`;
const admin = "admin-token-0123456789";
const viewer = "viewer-token-0123456789";
const editor = "editor-token-0123456789";

let directory: string;
let service: ServeProcess;
let origin: Origin;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-attacks-"));
  await writeFile(
    join(directory, "tokens.yaml"),
    JSON.stringify({
      users: [
        { name: "root", token: admin, roles: [{ role: "admin" }] },
        { name: "reader", token: viewer, roles: [{ role: "view" }] },
        { name: "team", token: editor, roles: [{ role: "edit", namespaces: ["team-a"] }] },
      ],
    }),
    { mode: 0o600 },
  );
  await tool("qemu-img", "create", "-q", "-f", "qcow2", join(directory, "disk.qcow2"), "4M");
  origin = await Origin.start(Buffer.alloc(1 << 20, 1));
  service = await ServeProcess.start("--token-file", join(directory, "tokens.yaml"));
});

afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
}

async function ask(
  path: string,
  {
    token,
    method = "GET",
    body,
    headers = {},
  }: { token?: string; method?: string; body?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const answer = await fetch(`${service.url}${path}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body }),
  });
  return { status: answer.status, text: await answer.text(), headers: answer.headers };
}

const manifest = (name: string, dataSource: object, metadata: object = {}) =>
  JSON.stringify({
    apiVersion: "virtualization.deckhouse.io/v1alpha2",
    kind: "ClusterVirtualImage",
    metadata: { name, ...metadata },
    spec: { dataSource },
  });

async function settled(name: string, ...phases: string[]): Promise<ImageObject> {
  for (let tries = 0; tries < 200; tries += 1) {
    const { status, text } = await ask(`${images}/${name}`, { token: admin });
    const image = JSON.parse(text) as ImageObject;
    if (status === 200 && phases.includes(image.status?.phase ?? "")) return image;
    await delay(100);
  }
  throw new Error(`${name} did not come to ${phases.join(" or ")}`);
}

async function uploadPath(name: string): Promise<string> {
  expect((await ask(images, { token: admin, method: "POST", body: manifest(name, { type: "Upload" }) })).status).toBe(
    201,
  );
  const image = await settled(name, "WaitForUserUpload");
  return new URL(image.status?.imageUploadURLs?.inCluster ?? "").pathname;
}

/** Writes raw bytes to the server and reads until it closes, or `patience` milliseconds have passed. */
function raw(text: string, patience = 3000): Promise<string> {
  const { hostname, port } = new URL(service.url);
  return new Promise((resolve, reject) => {
    let received = "";
    const socket = connect(Number(port), hostname, () => void socket.write(text));
    const timer = setTimeout(() => socket.destroy(), patience);
    socket
      .setEncoding("latin1")
      .on("data", (part: string) => (received += part))
      .on("error", reject)
      .on("close", () => {
        clearTimeout(timer);
        resolve(received);
      });
  });
}

describe("tokens", () => {
  it.each([
    ["none", undefined],
    ["a wrong one", "wrong-token-0123456789"],
  ])("%s: nothing of the API, the metrics or the registry is told", async (_, token) => {
    for (const path of [
      images,
      "/api/v1/secrets",
      "/apis",
      "/openapi/v3",
      "/metrics",
      "/v2/",
      "/v2/_catalog",
      "/console/status",
    ]) {
      const answer = await ask(path, token === undefined ? {} : { token });
      expect([path, answer.status]).toEqual([path, 401]);
      expect(answer.headers.get("www-authenticate")).toMatch(/^(?:Bearer|Basic) /);
    }
  });

  it("of a role do what it may and no more", async () => {
    expect((await ask(images, { token: viewer })).status).toBe(200);
    expect(
      (await ask(images, { token: viewer, method: "POST", body: manifest("by-viewer", { type: "Upload" }) })).status,
    ).toBe(403);
    expect((await ask("/api/v1/namespaces/team-a/secrets", { token: viewer })).status).toBe(403);
    expect(
      (await ask(images, { token: editor, method: "POST", body: manifest("by-team", { type: "Upload" }) })).status,
    ).toBe(403);
    expect((await ask(`${group}/namespaces/team-b/virtualimages`, { token: editor })).status).toBe(403);
    expect((await ask(`${group}/namespaces/team-a/virtualimages`, { token: editor })).status).toBe(200);
  });

  it("of viewers do not see upload URLs, in lists, tables and watches either", async () => {
    const token = (await uploadPath("hidden")).slice("/upload/".length);
    expect((await ask(`${images}/hidden`, { token: admin })).text).toContain(token);
    const table = { accept: "application/json;as=Table;v=v1;g=meta.k8s.io" };
    for (const answer of [
      await ask(images, { token: viewer }),
      await ask(`${images}/hidden`, { token: viewer }),
      await ask(`${images}?includeObject=Object`, { token: viewer, headers: table }),
      await ask(`${images}?watch=true&timeoutSeconds=1`, { token: viewer }),
    ]) {
      expect(answer.status).toBe(200);
      expect(answer.text).toContain("hidden");
      expect(answer.text).not.toContain(token);
    }
  });
});

describe("upload URLs", () => {
  it("that are wrong are one and the same 404, whatever is asked of them", async () => {
    const path = await uploadPath("guessed");
    const said = (await ask(`/upload/${"b".repeat(32)}`)).text;
    expect(said).toMatch(/^E_NOT_FOUND: /);
    for (const wrong of [`/upload/${"a".repeat(32)}`, `${path}x`, path.slice(0, -1), "/upload/"]) {
      for (const method of ["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD"]) {
        const { status, text } = await ask(wrong, { method });
        expect([method, wrong, status, text]).toEqual([method, wrong, 404, method === "HEAD" ? "" : said]);
      }
    }
  });

  it("are dead once the image is Ready, and once it is deleted", async () => {
    const path = await uploadPath("used");
    await tool("curl", "-sS", "--fail-with-body", "-T", join(directory, "disk.qcow2"), `${service.url}${path}`);
    await settled("used", "Ready");
    expect((await ask(path)).status).toBe(404);
    expect((await ask(path, { method: "PUT", body: "x" })).status).toBe(404);
    const other = await uploadPath("deleted");
    expect((await ask(other)).status).toBe(200);
    expect((await ask(`${images}/deleted`, { token: admin, method: "DELETE" })).status).toBe(200);
    await expect.poll(async () => (await ask(other)).status, { timeout: 10_000 }).toBe(404);
  });
});

describe("requests that are not honest", () => {
  it("with a body that is too large are refused with 413", async () => {
    const body = manifest("large", { type: "Upload" }, { annotations: { filler: "x".repeat(50 << 20) } });
    for (let round = 0; round < 5; round += 1) {
      const { status, text } = await ask(images, { token: admin, method: "POST", body });
      expect([status, (JSON.parse(text) as { reason: string }).reason]).toEqual([413, "RequestEntityTooLarge"]);
    }
  });

  it("whose head comes slowly hold nobody else up, and are cut off", async () => {
    const slow = Array.from({ length: 50 }, () => raw(`GET ${images} HTTP/1.1\r\nHost: localhost\r\nX-Slow: `, 40_000));
    expect((await ask("/healthz")).status).toBe(200);
    for (const answer of await Promise.all(slow)) expect(answer === "" || answer.startsWith("HTTP/1.1 408")).toBe(true);
  }, 60_000);

  it.each([
    "/assets/../../package.json",
    "/assets/..%2f..%2fpackage.json",
    "/assets/%2e%2e/%2e%2e/package.json",
    "/v2/..%2f..%2fresources.db/manifests/x",
    "/v2/cvi/../../secrets/blobs/sha256:0",
    "//etc/passwd",
    "/upload/../healthz%00",
    "/%2e%2e/%2e%2e/etc/passwd",
  ])("by the path %s reach no file", async (path) => {
    const { hostname, port } = new URL(service.url);
    const answer = await raw(
      `GET ${path} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nAuthorization: Bearer ${admin}\r\nConnection: ` +
        "close\r\n\r\n",
    );
    expect(answer).toMatch(/^HTTP\/1\.1 40[0-9] /);
    expect(answer).not.toContain("root:");
    expect(answer).not.toContain('dvcr-data-plane"');
  });

  it("from a page of another site change nothing", async () => {
    const body = manifest("forged", { type: "Upload" });
    expect(
      (await ask(images, { token: admin, method: "POST", body, headers: { origin: "https://evil.example" } })).status,
    ).toBe(403);
    expect(
      (await ask(images, { token: admin, method: "POST", body, headers: { "content-type": "text/plain" } })).status,
    ).toBe(415);
    expect((await ask(`${images}/forged`, { token: admin })).status).toBe(404);
  });
});

describe("sources inside of the server's network", () => {
  it.each([
    ["by address", () => origin.url],
    ["by a name that resolves to it", () => origin.url.replace("127.0.0.1", "localhost")],
    ["by an address written otherwise", () => origin.url.replace("127.0.0.1", "0x7f.1")],
    ["a cloud's metadata service", () => "http://169.254.169.254/latest/meta-data/"],
  ])("%s are refused, and never asked", async (how, url) => {
    const before = origin.seen.length;
    const name = `ssrf-${how.replace(/\W+/g, "-")}`;
    expect(
      (
        await ask(images, {
          token: admin,
          method: "POST",
          body: manifest(name, { type: "HTTP", http: { url: url() } }),
        })
      ).status,
    ).toBe(201);
    const image = await settled(name, "Failed");
    expect(image.status?.conditions?.map(({ message }) => message).join()).toContain("not allowed");
    expect(origin.seen.length).toBe(before);
  });

  it("are refused as registries too, before a connection is made", async () => {
    // Connections, not requests: towards a registry TLS comes first, and this port speaks none.
    let connections = 0;
    await using listener = await listening(() => (connections += 1));
    const image = `127.0.0.1:${String(listener.port)}/a/b:c`;
    const body = manifest("ssrf-registry", { type: "ContainerImage", containerImage: { image } });
    expect((await ask(images, { token: admin, method: "POST", body })).status).toBe(201);
    const failed = await settled("ssrf-registry", "Failed");
    expect(failed.status?.conditions?.find(({ type }) => type === "Ready")?.message).toMatch(/^E_TARGET_REFUSED: /);
    expect(connections).toBe(0);
  });
});

/** A port that counts who connects, and closes. */
async function listening(onConnection: () => void): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer((socket) => {
    onConnection();
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

describe("texts of others", () => {
  it("in names are refused, and in messages stay text: no page ever holds them as markup", async () => {
    const script = "<script>alert(1)</script>";
    const named = await ask(images, { token: admin, method: "POST", body: manifest(script, { type: "Upload" }) });
    expect(named.status).toBe(422);
    expect(named.headers.get("content-type")).toContain("application/json");
    const missing = await ask(`/${encodeURIComponent(script)}`);
    expect(missing.status).toBe(404);
    expect(missing.headers.get("content-type")).not.toContain("text/html");
    expect(missing.headers.get("x-content-type-options")).toBe("nosniff");
    const page = await ask("/");
    expect(page.headers.get("content-security-policy")).toContain("script-src 'self'");
    expect(page.text).not.toMatch(/<script(?![^>]*\bsrc=)[^>]*>/);
  });
});
