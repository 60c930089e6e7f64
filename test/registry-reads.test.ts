/** What is read from a registry, where its redirects lead, and what it refuses. */
import { expect, test } from "vitest";
import { RegistryDestination } from "../src/destination/docker.ts";
import { buildImage } from "../src/layer/image-config.ts";
import { readBlob } from "../src/registry/blobs.ts";
import { credentialSource } from "../src/registry/credentials.ts";
import { resolveLocation } from "../src/registry/redirects.ts";
import { FakeClock, FakeRegistry } from "./support/fake-registry.ts";
import { bytes, digest, failure, followed, setup, spec, type Setup } from "./support/scripted-push.ts";

const { signal } = new AbortController();

test("a Location keeps to https and out of private networks", () => {
  const registry = new URL("https://registry.example:5000/v2/");
  const exchange = { host: "registry.example:5000", method: "POST", path: "/v2/" };
  const resolve = (location: string): string =>
    resolveLocation(location, registry, { registry, reach: "public" }, exchange).href;
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
