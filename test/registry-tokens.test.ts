/** Credentials and tokens, and who sees them. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { credentialSource } from "../src/registry/credentials.ts";
import { statManifest } from "../src/registry/manifests.ts";
import { FakeRegistry, type ScriptedExchange } from "./support/fake-registry.ts";
import {
  bytes,
  dropped,
  failure,
  followed,
  gone,
  opened,
  patched,
  push,
  ranges,
  session,
  setup,
  spec,
  stored,
} from "./support/scripted-push.ts";

const { signal } = new AbortController();

test(
  "tokens are asked for with the user's password, kept, and renewed when they expire in the " + "middle of a push",
  async () => {
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
        ...stored,
      ],
      { credentials: credentialSource("h", "r", { userPassword: "me:hunter22" }) },
    );
    await push(it);
    followed(it.fake);
    expect(it.fake.requests.map((one) => one.headers.authorization)).toEqual([
      undefined,
      ...Array.from({ length: 3 }, () => "Bearer token-one"),
      ...Array.from({ length: 3 }, () => "Bearer token-two"),
    ]);
    expect(ranges(it.fake)).toEqual(["0-999", "1000-2999", "1000-2999"]);
    expect(auth.requests[0]?.headers.authorization).toBe(`Basic ${Buffer.from("me:hunter22").toString("base64")}`);
    expect(Object.fromEntries(auth.requests[0]?.query ?? [])).toEqual({
      service: "svc",
      scope: "repository:r:pull,push",
    });
  },
);

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

test("credentials that the registry's own refusal echoes are not shown either", async () => {
  const challenge = { status: 401, headers: { "www-authenticate": 'Basic realm="x"' } };
  await using it = await setup(
    [
      { method: "GET", path: "/v2/", ...challenge },
      { ...opened, status: 403, headers: {}, body: "no: me hunter22" },
    ],
    { credentials: credentialSource("h", "r", { userPassword: "me:hunter22" }) },
  );
  const error = await failure(push(it));
  followed(it.fake);
  expect(error).toMatchObject({ code: "E_REGISTRY_DENIED", message: expect.stringContaining("no: me ***") as string });
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
    { ...gone, method: "DELETE", body: "" },
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
  expect(other.requests.map((one) => one.headers.authorization)).toEqual([undefined, undefined, undefined]);
});
