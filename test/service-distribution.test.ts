import { readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import fastify, { type FastifyInstance } from "fastify";
import { afterAll, beforeAll, expect, test } from "vitest";

import { DvcrError } from "../src/errors/dvcr-error.ts";
import { sha256Digest } from "../src/layer/image-config.ts";
import { distributionRoutes } from "../src/service/distribution/routes.ts";
import { EmbeddedPlace } from "../src/service/images/embedded-place.ts";
import { authorize, localAdmin, type User } from "../src/service/security/authorize.ts";
import { hexOf, sampleImage, storeSample, type SampleImage } from "./support/sample-image.ts";
import { temporaryDirectory, tool } from "./support/tools.ts";

const viewer: User = { name: "viewer", groups: [], grants: [{ role: "view", namespaces: ["team-a"] }] };

/** One server for all tests: images cvi/ubuntu (docker manifest), vi/team-a/one and vi/team-b/secret. */
let work: Awaited<ReturnType<typeof temporaryDirectory>>;
let place: EmbeddedPlace;
let app: FastifyInstance;
let host: string;
let [ubuntu, one, secret] = [] as unknown as [SampleImage, SampleImage, SampleImage];

beforeAll(async () => {
  work = await temporaryDirectory();
  place = await EmbeddedPlace.open({ directory: join(work.path, "images"), host: "unused" });
  [ubuntu, one, secret] = await Promise.all([sampleImage("docker"), sampleImage("oci", 40_000_000), sampleImage()]);
  await storeSample(place.destination({ repository: "cvi/ubuntu", tag: "uid-1" }), ubuntu);
  await storeSample(place.destination({ repository: "vi/team-a/one", tag: "uid-2" }), one);
  await storeSample(place.destination({ repository: "vi/team-b/secret", tag: "uid-3" }), secret);
  app = fastify();
  const userOf = (authorization: string | undefined) => {
    if (authorization === undefined) return Promise.resolve(localAdmin);
    const password = Buffer.from(authorization.replace(/^Basic /, ""), "base64")
      .toString()
      .split(":")[1];
    if (password === "viewer-token") return Promise.resolve(viewer);
    return Promise.reject(new DvcrError("E_UNAUTHENTICATED", "Unauthorized"));
  };
  await app.register(
    distributionRoutes({
      blobs: place.blobs,
      authorize,
      authenticator: { isOn: true, userOf, isCurrent: () => Promise.resolve(true), digests: () => [] },
    }),
  );
  host = new URL(await app.listen({ host: "127.0.0.1", port: 0 })).host;
});
afterAll(async () => {
  await app.close();
  await work[Symbol.asyncDispose]();
});

const get = (path: string, init: RequestInit = {}) => fetch(`http://${host}${path}`, init);
const asViewer = { headers: { authorization: `Basic ${Buffer.from("me:viewer-token").toString("base64")}` } };
const blobUrl = (repository: string, digest: string) => `/v2/${repository}/blobs/${digest}`;

async function expectError(path: string, status: number, code: string, init: RequestInit = {}): Promise<void> {
  const answer = await get(path, init);
  const body = (await answer.json()) as { errors: { code: string; message: string }[] };
  expect([path, answer.status, body.errors[0]?.code]).toEqual([path, status, code]);
  expect(body.errors[0]?.message).toMatch(/\w/);
  expect(JSON.stringify(body)).not.toContain(work.path);
}

test("skopeo copies, inspects and lists, umoci unpacks what it copied, buildah pulls", async () => {
  const layout = join(work.path, "copied");
  await tool("skopeo", "copy", "--src-tls-verify=false", `docker://${host}/vi/team-a/one:uid-2`, `oci:${layout}:v1`);
  await tool("umoci", "unpack", "--rootless", "--image", `${layout}:v1`, join(work.path, "bundle"));
  expect(hexOf(await readFile(join(work.path, "bundle/rootfs/disk/disk.img")))).toBe(hexOf(one.disk));
  const inspected = JSON.parse(
    await tool("skopeo", "inspect", "--tls-verify=false", `docker://${host}/cvi/ubuntu:uid-1`),
  ) as { Digest: string; RepoTags: string[] };
  expect(inspected).toMatchObject({ Digest: ubuntu.image.manifestDigest, RepoTags: ["uid-1"] });
  await tool(
    "skopeo",
    "copy",
    "--src-tls-verify=false",
    `docker://${host}/cvi/ubuntu@${ubuntu.image.manifestDigest}`,
    `dir:${join(work.path, "by-digest")}`,
  );
  expect(await readdir(join(work.path, "by-digest"))).toContain(ubuntu.layerDigest.slice(7));
  const storage = [
    "--storage-driver",
    "vfs",
    "--root",
    join(work.path, "root"),
    "--runroot",
    join(work.path, "runroot"),
  ];
  const id = await tool("buildah", ...storage, "pull", "-q", "--tls-verify=false", `docker://${host}/cvi/ubuntu:uid-1`);
  expect(id.trim()).toBe(ubuntu.image.configDigest.slice(7));
});

test("a manifest by tag and by digest, with its type, digest and length", async () => {
  for (const name of ["uid-1", ubuntu.image.manifestDigest]) {
    const answer = await get(`/v2/cvi/ubuntu/manifests/${name}`);
    expect(answer.status).toBe(200);
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      "content-type": ubuntu.image.manifestMediaType,
      "docker-content-digest": ubuntu.image.manifestDigest,
      "content-length": String(ubuntu.image.manifest.length),
      "docker-distribution-api-version": "registry/2.0",
    });
    expect(sha256Digest(Buffer.from(await answer.arrayBuffer()))).toBe(ubuntu.image.manifestDigest);
    const head = await get(`/v2/cvi/ubuntu/manifests/${name}`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), head.headers.get("docker-content-digest")]).toEqual([
      200,
      String(ubuntu.image.manifest.length),
      ubuntu.image.manifestDigest,
    ]);
  }
  const etag = `"${ubuntu.image.manifestDigest}"`;
  expect((await get("/v2/cvi/ubuntu/manifests/uid-1", { headers: { "if-none-match": etag } })).status).toBe(304);
  expect((await get("/v2/")).status).toBe(200);
  expect((await get("/v2")).status).toBe(200);
});

test("a blob whole, its head, and ranges of it", async () => {
  const url = blobUrl("vi/team-a/one", one.layerDigest);
  const whole = await get(url);
  expect([whole.status, whole.headers.get("docker-content-digest"), whole.headers.get("accept-ranges")]).toEqual([
    200,
    one.layerDigest,
    "bytes",
  ]);
  expect(sha256Digest(Buffer.from(await whole.arrayBuffer()))).toBe(one.layerDigest);
  const head = await get(url, { method: "HEAD" });
  expect([head.status, head.headers.get("content-length"), (await head.arrayBuffer()).byteLength]).toEqual([
    200,
    String(one.layer.length),
    0,
  ]);
  const etag = `"${one.layerDigest}"`;
  expect((await get(url, { headers: { "if-none-match": etag } })).status).toBe(304);
  const range = { range: "bytes=1000000-2999999" };
  for (const headers of [range, { ...range, "if-range": etag }]) {
    const part = await get(url, { headers });
    expect([part.status, part.headers.get("content-range")]).toEqual([
      206,
      `bytes 1000000-2999999/${one.layer.length}`,
    ]);
    expect(Buffer.from(await part.arrayBuffer()).equals(one.layer.subarray(1_000_000, 3_000_000))).toBe(true);
  }
  const other = await get(url, { headers: { ...range, "if-range": '"sha256:other"' } });
  expect(other.status).toBe(200);
  // Unread, it would keep the blob open.
  await other.body?.cancel();
  const tail = await get(url, { headers: { range: "bytes=-100" } });
  expect(Buffer.from(await tail.arrayBuffer()).equals(one.layer.subarray(-100))).toBe(true);
  await expectError(url, 416, "RANGE_INVALID", { headers: { range: `bytes=${one.layer.length}-` } });
});

test("lists in pages, with a link to the next", async () => {
  expect(await (await get("/v2/_catalog")).json()).toEqual({
    repositories: ["cvi/ubuntu", "vi/team-a/one", "vi/team-b/secret"],
  });
  const first = await get("/v2/_catalog?n=2");
  expect(await first.json()).toEqual({ repositories: ["cvi/ubuntu", "vi/team-a/one"] });
  const next = /^<(.*)>; rel="next"$/.exec(first.headers.get("link") ?? "")?.[1];
  const second = await get(next!);
  expect([await second.json(), second.headers.get("link")]).toEqual([{ repositories: ["vi/team-b/secret"] }, null]);
  expect(await (await get("/v2/cvi/ubuntu/tags/list")).json()).toEqual({ name: "cvi/ubuntu", tags: ["uid-1"] });
  expect(await (await get("/v2/cvi/ubuntu/tags/list?n=0")).json()).toEqual({ name: "cvi/ubuntu", tags: [] });
  await expectError("/v2/_catalog?n=-1", 400, "PAGINATION_NUMBER_INVALID");
});

test("errors are those of the specification, and say nothing of the inside", async () => {
  const unknown = `sha256:${"0".repeat(64)}`;
  await expectError("/v2/cvi/none/tags/list", 404, "NAME_UNKNOWN");
  await expectError("/v2/cvi/none/manifests/x", 404, "NAME_UNKNOWN");
  await expectError("/v2/cvi/ubuntu/manifests/none", 404, "MANIFEST_UNKNOWN");
  await expectError(`/v2/cvi/ubuntu/manifests/${unknown}`, 404, "MANIFEST_UNKNOWN");
  await expectError(blobUrl("cvi/ubuntu", unknown), 404, "BLOB_UNKNOWN");
  // The blob is there, but belongs to another repository.
  await expectError(blobUrl("cvi/ubuntu", secret.layerDigest), 404, "BLOB_UNKNOWN");
  await expectError("/v2/cvi/ubuntu/blobs/uploads/", 404, "UNSUPPORTED");
  await expectError("/v2/cvi/ubuntu/blobs/uploads/", 405, "UNSUPPORTED", { method: "POST" });
  await expectError("/v2/cvi/ubuntu/manifests/uid-1", 405, "UNSUPPORTED", { method: "DELETE" });
  await expectError("/v2/_catalog", 401, "UNAUTHORIZED", { headers: { authorization: "Basic eDp4" } });
  const challenged = await get("/v2/", { headers: { authorization: "Basic eDp4" } });
  expect(challenged.headers.get("www-authenticate")).toMatch(/^Basic realm=/);
});

test.each([
  "/v2/cvi/ubuntu/blobs/../../../index.json",
  "/v2/cvi/ubuntu/blobs/..%2f..%2findex.json",
  "/v2/cvi/ubuntu/blobs/sha256:..%2f..%2f..%2findex.json",
  "/v2/cvi/ubuntu/blobs/sha256:%2e%2e",
  `/v2/cvi/ubuntu/blobs/sha256:${"A".repeat(64)}`,
  `/v2/cvi/ubuntu/blobs/sha512:${"0".repeat(128)}`,
  `/v2/cvi/ubuntu/blobs/sha256:${"0".repeat(63)}%00`,
  "/v2/..%2f..%2fetc/manifests/passwd",
  "/v2/cvi/%2e%2e/tags/list",
  "/v2/cvi/UPPER/tags/list",
  "/v2//tags/list",
  "/v2/cvi/ubuntu/manifests/..",
  "/v2/cvi/ubuntu/manifests/%2e%2e%2findex.json",
])("no way outside: %s", async (path) => {
  // By hand: fetch() would tidy the path up.
  const answer = await rawRequest(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  expect(answer).toMatch(/^HTTP\/1\.1 (?:400|404) /);
  expect(answer).not.toMatch(/manifests":|imageLayoutVersion|root:/);
});

test("a user sees the images whose resources he may get", async () => {
  expect(await (await get("/v2/_catalog", asViewer)).json()).toEqual({ repositories: ["cvi/ubuntu", "vi/team-a/one"] });
  expect((await get("/v2/vi/team-a/one/manifests/uid-2", asViewer)).status).toBe(200);
  await expectError("/v2/vi/team-b/secret/manifests/uid-3", 403, "DENIED", asViewer);
  await expectError(blobUrl("vi/team-b/secret", secret.layerDigest), 403, "DENIED", asViewer);
  await expectError("/v2/vi/team-b/none/tags/list", 403, "DENIED", asViewer);
  const layout = join(work.path, "by-viewer");
  await tool(
    "skopeo",
    "copy",
    "--src-tls-verify=false",
    "--src-creds",
    "me:viewer-token",
    `docker://${host}/cvi/ubuntu:uid-1`,
    `dir:${layout}`,
  );
  expect(await readdir(layout)).toContain(ubuntu.layerDigest.slice(7));
});

test("a client that leaves in the middle leaves no open file, and one that does not read costs no memory", async () => {
  // What the tests before have fetched is closed a moment after their answers.
  await expect.poll(openBlobs, { timeout: 20_000 }).toBe(0);
  const sockets = Array.from({ length: 8 }, () => connect(Number(host.split(":")[1]), "127.0.0.1"));
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve) => {
          socket.write(`GET ${blobUrl("vi/team-a/one", one.layerDigest)} HTTP/1.1\r\nHost: x\r\n\r\n`);
          socket.once("data", () => {
            socket.pause();
            resolve();
          });
        }),
    ),
  );
  expect(await openBlobs()).toBe(8);
  // Eight layers are 320 MB; the sample itself, its copy and Node's buffers are held by this test.
  expect(process.memoryUsage().arrayBuffers).toBeLessThan(250_000_000);
  for (const socket of sockets) socket.destroy();
  await expect.poll(openBlobs, { timeout: 20_000 }).toBe(0);
});

async function openBlobs(): Promise<number> {
  const { readlink } = await import("node:fs/promises");
  const links = await Promise.all(
    (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")),
  );
  return links.filter((link) => link.includes("/blobs/sha256/")).length;
}

function rawRequest(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(Number(host.split(":")[1]), "127.0.0.1", () => socket.write(text));
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString()));
    socket.on("end", () => resolve(answer));
    socket.on("error", reject);
  });
}
