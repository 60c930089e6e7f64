/** Token services and redirects as people report of them; skopeo passes the same. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { expect, test } from "vitest";

import { RegistryDestination } from "../src/destination/docker.ts";
import { readBlob } from "../src/registry/blobs.ts";
import { RegistryClient, type RegistryOptions } from "../src/registry/client.ts";
import { credentialSource } from "../src/registry/credentials.ts";
import { resolveLocation } from "../src/registry/redirects.ts";
import { FieldRegistry } from "./support/field-registry.ts";
import { FakeClock } from "./support/fake-registry.ts";
import { sampleImage, storeSample } from "./support/sample-image.ts";
import { tool } from "./support/tools.ts";

const mebibyte = 2 ** 20;
const sample = await sampleImage("oci", 3 * mebibyte);
const { signal } = new AbortController();
const flags = ["--src-tls-verify=false", "--dest-tls-verify=false"];

async function push(host: string, userPassword?: string): Promise<void> {
  const credentials = credentialSource(host, "team/disk", userPassword === undefined ? {} : { userPassword });
  const to = new RegistryDestination(
    { host, repository: "team/disk", tag: "1" },
    { tls: { verify: false }, credentials, clock: new FakeClock() },
  );
  await to.current(signal);
  await storeSample(to, sample);
}

function expectStored(registry: FieldRegistry): void {
  expect(registry.blobs.get(`team/disk@${sample.layerDigest}`)?.equals(sample.layer)).toBe(true);
  expect(registry.tags("team/disk")).toContain("1");
}

test(
  "a token service that grants pull only where the repository exists is asked for pull,push " + "throughout",
  async () => {
    const asked: string[] = [];
    const first = (request: IncomingMessage, response: ServerResponse, url: URL): boolean => {
      const [, actions] = /^Bearer repository:.*:([a-z,]+)$/.exec(request.headers.authorization ?? "") ?? [];
      if (url.pathname === "/token") {
        const scope = url.searchParams.get("scope") ?? "";
        asked.push(scope);
        // Pull alone, of what does not exist, is granted to nobody.
        const token = scope.endsWith(":pull") ? "nothing" : scope;
        response.end(JSON.stringify({ token }));
        return true;
      }
      if (actions?.includes("push") === true) return false;
      const challenge = `Bearer realm="http://${request.headers.host ?? ""}/token",service="field"`;
      const status = request.headers.authorization === undefined ? 401 : 403;
      response.writeHead(status, { "www-authenticate": challenge }).end();
      return true;
    };
    await using registry = await FieldRegistry.start({ first });
    await push(registry.host);
    expectStored(registry);
    expect(asked).toEqual(["repository:team/disk:pull,push"]);
    await tool(
      "skopeo",
      "copy",
      "--dest-tls-verify=false",
      "--src-tls-verify=false",
      `docker://${registry.host}/team/disk:1`,
      `docker://${registry.host}/team/disk:2`,
    ).catch((error: unknown) => {
      // skopeo reads with pull alone, which this service refuses: writing is what it has to show here.
      expect(String(error)).toMatch(/denied|403|unauthorized/i);
    });
  },
);

test.each([301, 302, 307, 308])("GET /v2/ answered with %i is followed", async (status) => {
  await using registry = await FieldRegistry.start({
    first: (_, response, url) => {
      if (url.pathname !== "/v2/" || url.search !== "") return false;
      response.writeHead(status, { location: "/v2/?elsewhere" }).end();
      return true;
    },
  });
  await push(registry.host);
  expectStored(registry);
  await tool("skopeo", "copy", ...flags, `docker://${registry.host}/team/disk:1`, `docker://${registry.host}/other:1`);
});

test.each([307, 308])("%i on POST, PATCH and PUT is followed, without credentials elsewhere", async (status) => {
  await using store = await FieldRegistry.start({}, "127.0.0.2");
  await using front = await FieldRegistry.start({
    first: (request, response, url) => {
      if (url.pathname === "/v2/") {
        response.writeHead(401, { "www-authenticate": `Basic realm="front"` }).end();
        return true;
      }
      response.writeHead(status, { location: `http://${store.host}${request.url ?? ""}` }).end();
      return true;
    },
  });
  await push(front.host, "me:hunter22");
  expectStored(store);
  expect(front.of("POST")[0]?.headers.authorization).toBeDefined();
  expect(store.requests.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
});

test.each([301, 302, 303])("%i on POST is no success: the method would change", async (status) => {
  await using registry = await FieldRegistry.start({
    first: (request, response) => {
      if (request.method !== "POST") return false;
      response.writeHead(status, { location: "/v2/team/disk/blobs/uploads/x" }).end();
      return true;
    },
  });
  await expect(push(registry.host)).rejects.toMatchObject({ code: "E_REGISTRY_REFUSED" });
});

/** Reads the layer from a registry whose blobs are elsewhere, by a redirect to `location`. */
async function readRedirected(location: (path: string) => string, options: Partial<RegistryOptions> = {}) {
  await using registry = await FieldRegistry.start({
    first: (request, response, url) => {
      if (!url.pathname.includes("/blobs/sha256:")) return false;
      response.writeHead(307, { location: location(request.url ?? "") }).end();
      return true;
    },
  });
  const anonymous = () => Promise.resolve(undefined);
  const client = new RegistryClient({
    host: registry.host,
    tls: { verify: false },
    credentials: anonymous,
    ...options,
  });
  const parts: Uint8Array[] = [];
  const blob = { digest: sample.layerDigest, size: sample.layer.length };
  for await (const part of readBlob(client, "team/disk", blob, signal)) parts.push(part);
  await client.close();
  return Buffer.concat(parts);
}

test("a blob is read from another private address where the registry's own is private", async () => {
  await using store = await FieldRegistry.start({}, "127.0.0.2");
  await push(store.host);
  expect((await readRedirected((path) => `http://${store.host}${path}`)).equals(sample.layer)).toBe(true);
});

test("a registry leads no further into private networks than it is itself, unless that is allowed", async () => {
  const exchange = { host: "r.example", method: "GET", path: "/v2/x" };
  const resolve = (location: string, reach: "public" | "private" | "local" | "any") => () =>
    resolveLocation(
      location,
      new URL("http://r.example/v2/"),
      { registry: new URL("http://r.example"), reach },
      exchange,
    );
  const refused = expect.objectContaining({
    code: "E_REGISTRY_REFUSED",
    message: expect.stringContaining("--allow-private-redirects") as string,
  }) as Error;
  for (const [location, from, allowed] of [
    ["http://10.1.2.3/x", "public", false],
    ["http://10.1.2.3/x", "private", true],
    ["http://[fd00::1]/x", "private", true],
    ["http://127.0.0.1/x", "private", false],
    ["http://localhost/x", "private", false],
    ["http://192.168.0.9/x", "local", true],
    ["http://127.0.0.9/x", "local", true],
    ["http://169.254.169.254/x", "local", false],
    ["http://169.254.169.254/x", "any", true],
    ["http://10.1.2.3/x", "any", true],
    ["http://store.example/x", "public", true],
  ] as const) {
    if (allowed) expect(resolve(location, from)().href, `${location} from ${from}`).toBe(location);
    else expect(resolve(location, from), `${location} from ${from}`).toThrow(refused);
  }
  await expect(readRedirected(() => "http://169.254.169.254/x")).rejects.toThrow(refused);
});
