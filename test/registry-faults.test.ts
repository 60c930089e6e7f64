import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { RegistryDestination, type RegistryDestinationOptions } from "../src/destination/docker.ts";
import { buildImage, sha256Digest } from "../src/layer/image-config.ts";
import { readBlob } from "../src/registry/blobs.ts";
import { credentialSource } from "../src/registry/credentials.ts";
import { statManifest } from "../src/registry/manifests.ts";
import { resolveLocation } from "../src/registry/transport.ts";
import { FakeClock, FakeRegistry, type ScriptedExchange } from "./support/fake-registry.ts";

const { signal } = new AbortController();
const uploads = "/v2/r/blobs/uploads/";
const session = `${uploads}1`;
const bytes = createHash("shake256", { outputLength: 3000 }).update("layer").digest();
const digest = sha256Digest(bytes);
const spec = (code: string, detail: unknown = null): string =>
  JSON.stringify({ errors: [{ code, message: "said so", detail }] });

const opened: ScriptedExchange = {
  method: "POST",
  path: uploads,
  status: 202,
  headers: { location: `${session}?s=0` },
};
const dropped: ScriptedExchange[] = [
  { method: "GET", path: session, status: 204, headers: { location: `${session}?s=fresh`, range: "0-0" } },
  { method: "DELETE", path: session, status: 204 },
];
const patched = (end: number, state = String(end)): ScriptedExchange => ({
  method: "PATCH",
  path: session,
  status: 202,
  headers: { location: `${session}?s=${state}`, range: `0-${String(end - 1)}` },
});
const holds = (range: string, state = "asked"): ScriptedExchange => ({
  method: "GET",
  path: session,
  status: 204,
  headers: { location: `${session}?s=${state}`, range },
});
const gone: ScriptedExchange = { method: "GET", path: session, status: 404, body: spec("BLOB_UPLOAD_INVALID") };
const stored: ScriptedExchange = { method: "PUT", path: session, status: 201 };

interface Setup extends AsyncDisposable {
  readonly fake: FakeRegistry;
  readonly clock: FakeClock;
  readonly to: RegistryDestination;
}

async function setup(
  script: readonly ScriptedExchange[],
  options: Partial<RegistryDestinationOptions> = {},
): Promise<Setup> {
  const fake = await FakeRegistry.start(script);
  const clock = new FakeClock();
  const to = new RegistryDestination(
    { host: fake.host, repository: "r", tag: "v1" },
    // Every write is a PATCH of its own, so that the scripts can tell them apart.
    {
      tls: { verify: false },
      credentials: () => Promise.resolve(undefined),
      clock,
      upload: { patchBytes: 1 },
      ...options,
    },
  );
  const dispose = async (): Promise<void> => {
    await to.close();
    await fake[Symbol.asyncDispose]();
  };
  return { fake, clock, to, [Symbol.asyncDispose]: dispose };
}

/** Pushes the bytes in two writes and commits; after a failure it aborts, as the pipeline does, and throws. */
async function push({ to }: Setup): Promise<void> {
  const upload = await to.beginLayer(signal);
  try {
    await upload.write(bytes.subarray(0, 1000));
    await upload.write(bytes.subarray(1000));
    await upload.commit(digest, bytes.length);
  } catch (error) {
    await upload.abort();
    throw error;
  }
}

const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => "no error",
    (error: unknown) => error,
  );
const ranges = (fake: FakeRegistry): unknown[] =>
  fake.requests.filter((one) => one.method === "PATCH").map((one) => one.headers["content-range"]);

function followed(fake: FakeRegistry): void {
  expect({ surprises: fake.surprises, left: fake.left }).toEqual({ surprises: [], left: [] });
}

test("every Location is followed and every PATCH says where its bytes belong", async () => {
  await using it = await setup([opened, patched(1000), patched(3000), stored]);
  await push(it);
  followed(it.fake);
  expect(ranges(it.fake)).toEqual(["0-999", "1000-2999"]);
  const states = it.fake.requests.slice(1).map((one) => one.query.get("s"));
  expect(states).toEqual(["0", "1000", "3000"]);
  expect(it.fake.requests.at(-1)?.query.get("digest")).toBe(digest);
});

test("a PATCH cut in its middle goes on where the registry stands", async () => {
  await using it = await setup([
    opened,
    patched(1000),
    { ...patched(3000), cutRequestAfter: 500 },
    holds("0-1499"),
    patched(3000),
    stored,
  ]);
  await push(it);
  followed(it.fake);
  expect(ranges(it.fake)).toEqual(["0-999", "1000-2999", "1500-2999"]);
  expect(it.fake.requests.filter((one) => one.method === "PATCH").at(-1)?.body).toEqual(bytes.subarray(1500));
  expect(it.clock.sleeps).toEqual([1000]);
});

test("a PATCH whose answer was lost is not sent again", async () => {
  await using it = await setup([
    opened,
    patched(1000),
    { ...patched(3000), loseAnswer: true },
    holds("0-2999"),
    stored,
  ]);
  await push(it);
  followed(it.fake);
});

test("5xx and 429 are waited out, Retry-After as it says", async () => {
  await using it = await setup([
    { ...opened, status: 503, body: "away" },
    opened,
    { ...patched(1000), status: 429, headers: { "retry-after": "7" }, body: spec("TOOMANYREQUESTS") },
    holds("0-0"),
    { ...opened, headers: { location: `${uploads}2` } },
    ...dropped,
    { ...patched(1000), path: `${uploads}2`, headers: { range: "0-999" } },
    { ...patched(3000), path: `${uploads}2`, status: 500, headers: {}, body: spec("UNKNOWN") },
    { ...holds("0-999"), path: `${uploads}2`, headers: { range: "0-999" } },
    { ...patched(3000), path: `${uploads}2`, headers: { range: "0-2999" } },
    { ...stored, path: `${uploads}2`, status: 502 },
    { method: "HEAD", path: `/v2/r/blobs/${digest}`, status: 404 },
    { ...holds("0-2999"), path: `${uploads}2`, headers: { range: "0-2999" } },
    { ...stored, path: `${uploads}2` },
  ]);
  await push(it);
  followed(it.fake);
  expect(it.clock.sleeps).toEqual([1000, 7000, 1000, 1000]);
});

test("a read-only window is waited out for 17 minutes, then the session is removed and the error says read-only", async () => {
  const closed = [{ method: "PATCH", path: session, status: 405, body: "Method not allowed\n" }, holds("0-999")];
  // 1 + 3 + 9 + 27 s, then a minute each.
  const tries = 4 + Math.ceil((17 * 60 - 40) / 60);
  await using it = await setup([
    opened,
    patched(1000),
    ...Array.from({ length: tries }, () => closed).flat(),
    closed[0] as ScriptedExchange,
    ...dropped,
  ]);
  expect(await failure(push(it))).toMatchObject({ code: "E_REGISTRY_READONLY" });
  followed(it.fake);
  expect(it.clock.now()).toBe(17 * 60_000);
});

test.each([
  ["2.8", { DriverName: "filesystem", Enclosed: { Op: "write", Path: "/x", Err: 28 } }],
  ["3.x", "filesystem: write /x: no space left on device"],
])("a full registry (%s) ends the push at once, on POST and on PATCH", async (_, detail) => {
  const full = { status: 500, headers: {}, body: spec("UNKNOWN", detail) };
  await using atPost = await setup([{ ...opened, ...full }]);
  await using atPatch = await setup([opened, { ...patched(1000), ...full }, ...dropped]);
  for (const it of [atPost, atPatch]) {
    const error = await failure(push(it));
    expect(error).toMatchObject({ code: "E_REGISTRY_FULL" });
    expect(String(error)).toMatch(/POST.*Err:28\D/);
    expect(String(error)).toContain(it.fake.host);
    followed(it.fake);
    expect(it.clock.sleeps).toEqual([]);
  }
});

test("a session lost while everything is in hand is begun again", async () => {
  await using it = await setup([
    opened,
    { ...patched(1000), loseAnswer: true },
    gone,
    { ...opened, headers: { location: `${uploads}2` } },
    { ...patched(1000), path: `${uploads}2`, headers: { range: "0-999" } },
    { ...patched(3000), path: `${uploads}2`, headers: { range: "0-2999" } },
    { ...stored, path: `${uploads}2` },
  ]);
  await push(it);
  followed(it.fake);
  expect(ranges(it.fake)).toEqual(["0-999", "0-999", "1000-2999"]);
});

test("a session lost later is said to be lost, and nothing is left behind", async () => {
  await using it = await setup([
    opened,
    patched(1000),
    { ...patched(3000), loseAnswer: true },
    gone,
    { ...opened, headers: { location: `${uploads}2` } },
    gone,
    ...dropped.map((one) => ({ ...one, path: `${uploads}2`, headers: {} })),
  ]);
  expect(await failure(push(it))).toMatchObject({ code: "E_REGISTRY_UNAVAILABLE", sessionLost: true });
  followed(it.fake);
});

test("a session lost because the registry is full is told as full", async () => {
  await using it = await setup([
    opened,
    patched(1000),
    { ...patched(3000), loseAnswer: true },
    gone,
    { ...opened, status: 500, headers: {}, body: spec("UNKNOWN", "no space left on device") },
    gone,
  ]);
  expect(await failure(push(it))).toMatchObject({ code: "E_REGISTRY_FULL" });
  followed(it.fake);
});

test.each(["0-499", "0-9999"])(
  "a registry that holds other bytes than were acknowledged (%s) never gets a mixed blob",
  async (range) => {
    await using it = await setup([
      opened,
      patched(1000),
      { ...patched(3000), headers: { range } },
      holds(range),
      { ...opened, headers: { location: `${uploads}2` } },
      ...dropped,
      ...dropped.map((one) => ({ ...one, path: `${uploads}2`, headers: {} })),
    ]);
    expect(await failure(push(it))).toMatchObject({ sessionLost: true });
    followed(it.fake);
  },
);

test("a PUT whose answer was lost is done when the blob is there", async () => {
  const blob = { method: "HEAD", path: `/v2/r/blobs/${digest}`, headers: { "content-length": String(bytes.length) } };
  await using it = await setup([opened, patched(1000), patched(3000), { ...stored, loseAnswer: true }, blob]);
  await push(it);
  followed(it.fake);
});

test("small chunks are given back before the caller's pool runs dry", async () => {
  await using it = await setup([opened, patched(12), ...dropped], {
    upload: { patchBytes: 1 << 20, flushAfterMs: 1 << 30 },
  });
  const upload = await it.to.beginLayer(signal);
  await Promise.all(Array.from({ length: 12 }, () => upload.write(Buffer.alloc(1))));
  await upload.abort();
  followed(it.fake);
});

test("a registry's least size of a PATCH is kept to, and small chunks are given back meanwhile", async () => {
  const asking = { ...opened, headers: { ...opened.headers, "oci-chunk-min-length": "1500" } };
  await using it = await setup([asking, patched(1600), patched(3000), stored], {
    upload: { patchBytes: 1, patchChunks: 3, flushAfterMs: 1 },
  });
  const upload = await it.to.beginLayer(signal);
  const writer = Buffer.alloc(400);
  for (let at = 0; at < bytes.length; at += 400) {
    const length = bytes.copy(writer, 0, at, at + 400);
    // One buffer for all: a chunk that was given back is the caller's again.
    await upload.write(writer.subarray(0, length));
  }
  await upload.commit(digest, bytes.length);
  followed(it.fake);
  const patches = it.fake.requests.filter((one) => one.method === "PATCH");
  expect(patches.map(({ body }) => body.length)).toEqual([1600, 1400]);
  expect(Buffer.concat(patches.map(({ body }) => body))).toEqual(bytes);
});

test("abort lets the PATCH in flight end before it removes the session", async () => {
  const cancel = new AbortController();
  await using it = await setup([opened, { ...patched(1000), onRequest: () => cancel.abort() }, ...dropped]);
  const upload = await it.to.beginLayer(cancel.signal);
  await expect(upload.write(bytes.subarray(0, 1000))).rejects.toMatchObject({ code: "E_CANCELLED" });
  await upload.abort();
  followed(it.fake);
  expect(upload.acknowledgedBytes).toBe(1000);
});

test("a PATCH that stalls is cut when an upload is aborted, and the session is still removed", async () => {
  await using it = await setup([opened, { ...patched(1000), stall: true }, ...dropped], {
    upload: { patchBytes: 1, abortGraceMs: 2000 },
  });
  const upload = await it.to.beginLayer(signal);
  const written = failure(upload.write(bytes.subarray(0, 1000)));
  await upload.abort();
  expect(await written).toMatchObject({ code: "E_CANCELLED" });
  followed(it.fake);
});

test("a silent registry is found by the stall limit, not waited for in vain", async () => {
  await using it = await setup([opened, { ...patched(1000), stall: true }, holds("0-999"), patched(3000), stored], {
    stallTimeoutMs: 500,
    upload: { patchBytes: 1 },
  });
  await push(it);
  followed(it.fake);
  expect(it.clock.sleeps).toEqual([1000]);
});

test("a session that cannot be removed is named", async () => {
  const orphans: string[] = [];
  const refused = { method: "GET", path: session, status: 403, body: spec("DENIED") };
  await using it = await setup([opened, refused], { upload: { onOrphan: (path) => orphans.push(path) } });
  await (await it.to.beginLayer(signal)).abort();
  expect(orphans).toEqual([session]);
});

test("tokens are asked for with the user's password, kept, and renewed when they expire in the middle of a push", async () => {
  const token = (value: string): ScriptedExchange => ({
    method: "GET",
    path: "/token",
    body: JSON.stringify({ token: value, expires_in: 300 }),
  });
  const challenged = { status: 401, body: spec("UNAUTHORIZED") };
  await using auth = await FakeRegistry.start([token("token-one"), token("token-two")]);
  const realm = `Bearer realm="http://${auth.host}/token",service="svc"`;
  const headers = { "www-authenticate": realm };
  await using it = await setup(
    [
      { method: "GET", path: "/v2/", ...challenged, headers },
      opened,
      patched(1000),
      { ...patched(3000), ...challenged, headers },
      patched(3000),
      stored,
    ],
    { credentials: credentialSource("h", "r", { userPassword: "me:hunter22" }) },
  );
  await push(it);
  followed(it.fake);
  expect(it.fake.requests.map((one) => one.headers.authorization)).toEqual([
    undefined,
    ...Array.from({ length: 3 }, () => "Bearer token-one"),
    ...Array.from({ length: 2 }, () => "Bearer token-two"),
  ]);
  expect(ranges(it.fake)).toEqual(["0-999", "1000-2999", "1000-2999"]);
  expect(auth.requests[0]?.headers.authorization).toBe(`Basic ${Buffer.from("me:hunter22").toString("base64")}`);
  expect(Object.fromEntries(auth.requests[0]?.query ?? [])).toEqual({
    service: "svc",
    scope: "repository:r:pull,push",
  });
});

test("an expired token is replaced before it is used; an identity token is exchanged by POST", async () => {
  const token = { method: "POST", path: "/token", body: JSON.stringify({ access_token: "fresh", expires_in: 60 }) };
  await using auth = await FakeRegistry.start([token, token]);
  const head = { method: "HEAD", path: "/v2/r/manifests/v1", status: 404 };
  const headers = { "www-authenticate": `Bearer realm="http://${auth.host}/token"` };
  await using it = await setup([{ method: "GET", path: "/v2/", status: 401, headers }, head, head, head], {
    credentials: () => Promise.resolve({ identityToken: "refresh-me" }),
  });
  await statManifest(it.to.client, "r", "v1", signal);
  await statManifest(it.to.client, "r", "v1", signal);
  it.clock.advance(60_000);
  await statManifest(it.to.client, "r", "v1", signal);
  followed(it.fake);
  expect(auth.requests).toHaveLength(2);
  expect(auth.requests[0]?.body.toString()).toContain(
    "grant_type=refresh_token&client_id=dvcr-data-plane&refresh_token=refresh-me",
  );
});

test("a refused token is E_REGISTRY_DENIED and shows no secret that the service echoes", async () => {
  await using auth = await FakeRegistry.start([
    { method: "GET", path: "/token", status: 401, body: "no: me hunter22" },
  ]);
  const headers = { "www-authenticate": `Bearer realm="http://${auth.host}/token"` };
  await using it = await setup([{ method: "GET", path: "/v2/", status: 401, headers }], {
    credentials: credentialSource("h", "r", { userPassword: "me:hunter22" }),
  });
  const error = await failure(push(it));
  expect(error).toMatchObject({ code: "E_REGISTRY_DENIED" });
  expect(String(error)).not.toContain("hunter22");
});

test("rotated credentials are read again after a 401", async () => {
  const directory = await mkdtemp(join(tmpdir(), "dvcr-auth-"));
  const authFile = join(directory, "auth.json");
  const rotate = (password: string) =>
    writeFile(authFile, JSON.stringify({ auths: { h: { username: "jwt", password } } }));
  await rotate("old-token");
  const headers = { "www-authenticate": `Basic realm="dvcr"` };
  await using it = await setup(
    [
      { method: "GET", path: "/v2/", status: 401, headers },
      opened,
      { ...patched(1000), status: 401, headers },
      patched(1000),
      ...dropped,
    ],
    { credentials: credentialSource("h", "r", { authFile }) },
  );
  const upload = await it.to.beginLayer(signal);
  await rotate("new-token");
  await upload.write(bytes.subarray(0, 1000));
  await upload.abort();
  followed(it.fake);
  const sent = it.fake.requests.map((one) =>
    Buffer.from(String(one.headers.authorization).slice(6), "base64").toString(),
  );
  expect(sent.slice(1, 4)).toEqual(["jwt:old-token", "jwt:old-token", "jwt:new-token"]);
  await rm(directory, { recursive: true });
});

test("credentials are not sent to another origin that a Location names", async () => {
  const headers = { "www-authenticate": `Basic realm="x"` };
  await using other = await FakeRegistry.start([
    { ...patched(1000), headers: { range: "0-999" } },
    { ...gone, body: "" },
  ]);
  await using it = await setup(
    [
      { method: "GET", path: "/v2/", status: 401, headers },
      { ...opened, headers: { location: `http://${other.host}${session}` } },
    ],
    { credentials: credentialSource("h", "r", { userPassword: "me:hunter22" }) },
  );
  const upload = await it.to.beginLayer(signal);
  await upload.write(bytes.subarray(0, 1000));
  await upload.abort();
  followed(other);
  expect(it.fake.requests[1]?.headers.authorization).toBeDefined();
  expect(other.requests.map((one) => one.headers.authorization)).toEqual([undefined, undefined]);
});

test("a Location keeps to https and out of private networks", () => {
  const registry = new URL("https://registry.example:5000/v2/");
  const exchange = { host: "registry.example:5000", method: "POST", path: "/v2/" };
  const resolve = (location: string): string => resolveLocation(location, registry, registry, exchange).href;
  expect(resolve("/v2/r/blobs/uploads/1?x=y")).toBe("https://registry.example:5000/v2/r/blobs/uploads/1?x=y");
  expect(resolve("http://registry.example/up")).toBe("https://registry.example:5000/up");
  expect(resolve("https://user:pw@store.example/up")).toBe("https://store.example/up");
  for (const bad of [
    "http://store.example/up",
    "https://10.1.2.3/up",
    "https://[fd00::1]/up",
    "https://169.254.169.254/x",
    "file:///etc/passwd",
  ]) {
    expect(() => resolve(bad), bad).toThrow(expect.objectContaining({ code: "E_REGISTRY_REFUSED" }) as Error);
  }
});

async function read(it: Setup, size = bytes.length): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of readBlob(it.to.client, "r", { digest, size }, signal)) parts.push(part);
  return Buffer.concat(parts);
}

test("a blob is read through a redirect without credentials, and goes on after a cut", async () => {
  const path = `/v2/r/blobs/${digest}`;
  const partial = { status: 206, headers: { "content-range": "bytes 1200-2999/3000" }, body: bytes.subarray(1200) };
  await using store = await FakeRegistry.start([
    { method: "GET", path: "/blob", body: bytes, cutAnswerAfter: 1200 },
    { method: "GET", path: "/blob", ...partial },
  ]);
  const redirect = { method: "GET", path, status: 307, headers: { location: `http://${store.host}/blob` } };
  const challenge = { method: "GET", path: "/v2/", status: 401, headers: { "www-authenticate": `Basic realm="x"` } };
  await using it = await setup([challenge, redirect, redirect], {
    credentials: credentialSource("h", "r", { userPassword: "me:hunter22" }),
  });
  expect(await read(it)).toEqual(bytes);
  followed(store);
  expect(it.fake.requests[1]?.headers.authorization).toBeDefined();
  expect(store.requests.map((one) => [one.headers.authorization, one.headers.range])).toEqual([
    [undefined, undefined],
    [undefined, "bytes=1200-"],
  ]);
});

test("a server that ignores Range sends the blob again and nothing is doubled", async () => {
  const path = `/v2/r/blobs/${digest}`;
  await using it = await setup([
    { method: "GET", path, body: bytes, cutAnswerAfter: 1200 },
    { method: "GET", path, body: bytes },
  ]);
  expect(await read(it)).toEqual(bytes);
});

test("a blob that is longer or other than its digest says is refused", async () => {
  const path = `/v2/r/blobs/${digest}`;
  const changed = Buffer.from(bytes);
  changed[5] = (changed[5] as number) ^ 1;
  await using it = await setup([
    { method: "GET", path, body: changed },
    { method: "GET", path, body: bytes },
  ]);
  expect(await failure(read(it))).toMatchObject({
    code: "E_REGISTRY_REFUSED",
    message: expect.stringContaining("digest") as string,
  });
  expect(await failure(read(it, 2999))).toMatchObject({
    code: "E_REGISTRY_REFUSED",
    message: expect.stringContaining("longer") as string,
  });
});

test("a registry that never answered is given up soon, by name", async () => {
  const clock = new FakeClock();
  const fake = await FakeRegistry.start([]);
  await fake[Symbol.asyncDispose]();
  const to = new RegistryDestination(
    { host: fake.host, repository: "r", tag: "v1" },
    { tls: { verify: true }, credentials: () => Promise.resolve(undefined), clock },
  );
  expect(await failure(to.beginLayer(signal))).toMatchObject({
    code: "E_REGISTRY_UNAVAILABLE",
    message: expect.stringContaining(fake.host) as string,
  });
  expect(clock.now()).toBe(15_000);
  await to.close();
});

test("a manifest that the registry refuses is refused at once with its reason", async () => {
  const image = buildImage({
    kind: "oci",
    compression: "none",
    layerDigest: digest,
    layerSize: 3000,
    diffId: digest,
    format: "raw",
    virtualSize: 1,
    sourceSize: 1,
    encoderId: "x",
  });
  const config = {
    method: "HEAD",
    path: `/v2/r/blobs/${image.configDigest}`,
    headers: { "content-length": String(image.config.byteLength) },
  };
  await using it = await setup([
    config,
    { method: "PUT", path: "/v2/r/manifests/v1", status: 400, body: spec("MANIFEST_INVALID", "layer missing") },
  ]);
  expect(await failure(it.to.commitImage(image, signal))).toMatchObject({
    code: "E_REGISTRY_REFUSED",
    message: expect.stringContaining("MANIFEST_INVALID: said so: layer missing") as string,
  });
  followed(it.fake);
  expect(it.clock.sleeps).toEqual([]);
});
