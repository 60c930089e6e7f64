import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fastify, { type FastifyBaseLogger, type FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { parseServeConfig } from "../src/config/serve-config.ts";
import { toDvcrError } from "../src/errors/dvcr-error.ts";
import { createLogger } from "../src/log/logger.ts";
import { buildServeApp } from "../src/service/server/app.ts";
import { addAuditLog } from "../src/service/security/audit.ts";
import { everybody, requireUser, tokenAuthenticator, userOf } from "../src/service/security/authenticate.ts";
import { authorize, localAdmin, type Access, type User } from "../src/service/security/authorize.ts";
import { addSecurityHeaders } from "../src/service/security/headers.ts";
import { originGuard, type OriginGuardOptions } from "../src/service/security/origin-guard.ts";
import { addRateLimit } from "../src/service/security/rate-limit.ts";
import { TokenFileUsers } from "../src/service/security/token-file.ts";

const aliceToken = "alice-token-0123456789";
const bobToken = "bob-token-0123456789abc";
const users = `users:
- name: alice
  token: ${aliceToken}
  roles: [{ role: edit, namespaces: [team-a] }]
- name: bob
  tokenSHA256: ${createHash("sha256").update(bobToken).digest("hex").toUpperCase()}
  roles: [{ role: admin }]
`;

let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-security-"));
  file = join(directory, "tokens.yaml");
  await writeFile(file, users, { mode: 0o600 });
});

afterEach(() => rm(directory, { recursive: true, force: true }));

const openUsers = () => TokenFileUsers.open(file, (problem) => expect.fail(problem.message));

describe("the file of tokens", () => {
  it("gives users by token or by its digest, and nobody else", async () => {
    const found = await openUsers();
    expect(await found.find(aliceToken)).toMatchObject({ name: "alice" });
    expect(await found.find(bobToken)).toMatchObject({ name: "bob", grants: [{ role: "admin" }] });
    expect(await found.find(`${aliceToken}x`)).toBeUndefined();
  });

  it.each([
    ["no YAML", "users: [", "cannot be read"],
    ["a short token", "users: [{ name: a, token: short, roles: [] }]", "/users/0/token"],
    ["no token", "users: [{ name: a, roles: [] }]", "/users/0"],
    ["an unknown role", `users: [{ name: a, token: ${aliceToken}, roles: [{ role: root }] }]`, "/users/0/roles/0/role"],
    ["a misspelt field", `users: [{ name: a, token: ${aliceToken}, roles: [], namespace: x }]`, "/users/0"],
    [
      "one token twice",
      `users: [{ name: a, token: ${aliceToken}, roles: [] }, { name: b, token: ${aliceToken}, roles: [] }]`,
      "same token",
    ],
  ])("with %s is refused, without quoting a token", async (_, text, reason) => {
    await writeFile(file, text);
    const opened = openUsers();
    await expect(opened).rejects.toMatchObject({
      code: "E_CONFIG",
      message: expect.stringContaining(reason) as string,
    });
    await expect(opened).rejects.toMatchObject({ message: expect.not.stringContaining(aliceToken) as string });
  });
});

describe("roles", () => {
  const user = (...grants: NonNullable<User["grants"]>): User => ({ name: "u", groups: [], grants });
  const images = { group: "virtualization.deckhouse.io", resource: "virtualimages" };
  const may = (who: User, access: Access) => authorize(who, access);

  it("view reads images of its namespaces and those of the cluster, but no secret", () => {
    const viewer = user({ role: "view", namespaces: ["a"] });
    expect(may(viewer, { ...images, verb: "watch", namespace: "a" })).toBe(true);
    expect(may(viewer, { ...images, verb: "list", namespace: "b" })).toBe(false);
    expect(may(viewer, { ...images, verb: "list" })).toBe(false);
    expect(may(viewer, { verb: "list", resource: "clustervirtualimages" })).toBe(true);
    expect(may(viewer, { verb: "get", resource: "secrets", namespace: "a" })).toBe(false);
    expect(may(viewer, { ...images, verb: "delete", namespace: "a" })).toBe(false);
  });

  it(
    "edit changes images and secrets where it was granted, and no image of the cluster from " + "within a namespace",
    () => {
      const editor = user({ role: "edit", namespaces: ["a"] });
      expect(may(editor, { ...images, verb: "create", namespace: "a" })).toBe(true);
      expect(may(editor, { verb: "create", resource: "secrets", namespace: "a" })).toBe(true);
      expect(may(editor, { ...images, verb: "create", namespace: "b" })).toBe(false);
      expect(may(editor, { verb: "create", resource: "clustervirtualimages" })).toBe(false);
      expect(may(editor, { ...images, verb: "patch", subresource: "status", namespace: "a" })).toBe(false);
      expect(may(user({ role: "edit" }), { verb: "create", resource: "clustervirtualimages" })).toBe(true);
      expect(may(user({ role: "edit" }), { verb: "create", resource: "gc" })).toBe(false);
    },
  );

  it("admin may everything, nobody nothing", () => {
    expect(may(user({ role: "admin" }), { verb: "create", resource: "gc" })).toBe(true);
    expect(may(localAdmin, { verb: "create", resource: "gc" })).toBe(true);
    expect(may(user(), { verb: "list", resource: "clustervirtualimages" })).toBe(false);
  });
});

describe("requests", () => {
  let app: FastifyInstance;
  let log: string[];

  afterEach(() => app.close());

  async function serve(
    options: { withTokens?: boolean; guard?: Partial<OriginGuardOptions>; perMinute?: number } = {},
  ): Promise<void> {
    log = [];
    const logger: FastifyBaseLogger = createLogger({ output: { write: (line: string) => void log.push(line) } });
    app = fastify({ loggerInstance: logger });
    app.setErrorHandler((error, _request, reply) => {
      const known = toDvcrError(error);
      return reply.code(known.entry.status).send(known.toLine());
    });
    await addSecurityHeaders(app, { isTls: false });
    await addRateLimit(app, { perMinute: options.perMinute ?? 0, exempt: ["/healthz"] });
    addAuditLog(app);
    app.addHook(
      "onRequest",
      originGuard({ isOpen: options.withTokens !== true, ownHosts: [], allowedOrigins: [], ...options.guard }),
    );
    const authenticator = options.withTokens === true ? tokenAuthenticator(await openUsers()) : everybody;
    app.get("/healthz", () => "ok");
    app.route({
      method: ["GET", "POST"],
      url: "/thing",
      onRequest: requireUser(authenticator, "Bearer"),
      handler: (request) => {
        request.access = {
          verb: request.method === "GET" ? "get" : "create",
          resource: "virtualimages",
          namespace: "a",
          name: "x",
        };
        return userOf(request).name;
      },
    });
  }

  it.each([
    ["a bearer token", `Bearer ${aliceToken}`, "alice"],
    ["the token as a password", `Basic ${Buffer.from(`whoever:${bobToken}`).toString("base64")}`, "bob"],
  ])("with %s are their user's", async (_, authorization, name) => {
    await serve({ withTokens: true });
    expect((await app.inject({ url: "/thing", headers: { authorization } })).body).toBe(name);
  });

  it.each([undefined, "Bearer wrong-token-0123456789", "Bearer ", "Basic !!!", "Digest x"])(
    "with %s are answered 401",
    async (authorization) => {
      await serve({ withTokens: true });
      const answer = await app.inject({ url: "/thing", headers: authorization === undefined ? {} : { authorization } });
      expect(answer.statusCode).toBe(401);
      expect(answer.headers["www-authenticate"]).toBe('Bearer realm="dvcr"');
      expect(answer.body).toContain("E_UNAUTHENTICATED");
    },
  );

  it("from pages of other sites change nothing", async () => {
    await serve();
    const post = async (headers: Record<string, string>) =>
      (await app.inject({ method: "POST", url: "/thing", headers: { host: "localhost:80", ...headers } })).statusCode;
    expect(await post({})).toBe(200);
    expect(await post({ origin: "http://localhost:80", "sec-fetch-site": "same-origin" })).toBe(200);
    expect(await post({ origin: "https://evil.example" })).toBe(403);
    expect(await post({ origin: "null" })).toBe(403);
    expect(await post({ origin: "http://localhost:8080" })).toBe(403);
    expect(await post({ "sec-fetch-site": "cross-site" })).toBe(403);
  });

  it("for a name that is not ours are not answered while no token is needed", async () => {
    await serve({ guard: { ownHosts: ["Images.example.com"] } });
    const get = async (host: string) => (await app.inject({ url: "/thing", headers: { host } })).statusCode;
    expect(await get("localhost:8080")).toBe(200);
    expect(await get("127.0.0.1")).toBe(200);
    expect(await get("[::1]:8080")).toBe(200);
    expect(await get("images.example.com")).toBe(200);
    expect(await get("rebound.example")).toBe(403);
  });

  it("above the limit are answered 429, probes are not counted", async () => {
    await serve({ perMinute: 3 });
    const statuses: number[] = [];
    for (let count = 0; count < 5; count += 1) statuses.push((await app.inject("/thing")).statusCode);
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    const refused = await app.inject("/thing");
    expect(refused.headers["retry-after"]).toBeDefined();
    expect(refused.body).toContain("E_TOO_MANY");
    expect((await app.inject("/healthz")).statusCode).toBe(200);
  });

  it("that change something are in the audit log, with their user and end, and without their token", async () => {
    await serve({ withTokens: true });
    const headers = { authorization: `Bearer ${aliceToken}` };
    await app.inject({ method: "POST", url: "/thing", headers, payload: {} });
    await app.inject({ url: "/thing", headers });
    const lines = log.map((line) => JSON.parse(line) as { audit?: object }).filter(({ audit }) => audit !== undefined);
    expect(lines).toEqual([
      expect.objectContaining({
        audit: {
          user: "alice",
          verb: "create",
          resource: "virtualimages",
          namespace: "a",
          name: "x",
          status: 200,
          from: "127.0.0.1",
        },
      }),
    ]);
    expect(log.join("")).not.toContain(aliceToken);
  });

  it("are answered with headers that keep pages from doing harm", async () => {
    await serve();
    const { headers } = await app.inject("/thing");
    expect(headers["content-security-policy"]).toContain("default-src 'none'");
    expect(headers["content-security-policy"]).not.toContain("unsafe-inline");
    expect(headers).toMatchObject({
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "x-frame-options": "DENY",
    });
    expect(headers["strict-transport-security"]).toBeUndefined();
  });
});

describe("the address that a request comes from", () => {
  const logger = () => createLogger({ output: { write: () => undefined } });
  const build = async (settings: Record<string, string>) => {
    const app = await buildServeApp({
      config: parseServeConfig({ DVCR_SERVE_REQUESTS_PER_MINUTE: "2", ...settings }),
      log: logger(),
      isAuthenticated: false,
      notReady: () => undefined,
    });
    app.get("/thing", ({ ip }) => ip);
    return app;
  };

  /** Status codes of one request each, in order: through the peer with this address, from what it says. */
  async function statuses(
    app: FastifyInstance,
    ...requests: readonly (readonly [peer: string, forwarded: string])[]
  ): Promise<number[]> {
    const found: number[] = [];
    for (const [remoteAddress, forwarded] of requests)
      found.push(
        (
          await app.inject({
            url: "/thing",
            remoteAddress,
            headers: { host: "localhost", "x-forwarded-for": forwarded },
          })
        ).statusCode,
      );
    return found;
  }

  it("is the peer's, whatever it says, where no proxy is trusted", async () => {
    const app = await build({});
    expect(
      await statuses(
        app,
        ["192.0.2.1", "198.51.100.1"],
        ["192.0.2.1", "198.51.100.2"],
        ["192.0.2.1", "198.51.100.3"],
        ["192.0.2.2", "198.51.100.3"],
      ),
    ).toEqual([200, 200, 429, 200]);
    await app.close();
  });

  it("is what a trusted proxy says, and still the peer's for all others", async () => {
    const app = await build({ DVCR_SERVE_TRUSTED_PROXIES: "192.0.2.0/24,2001:db8::1" });
    const proxied = await statuses(
      app,
      ["192.0.2.1", "198.51.100.1"],
      ["::ffff:192.0.2.9", "198.51.100.1"],
      ["2001:db8::1", "198.51.100.1"],
      ["192.0.2.1", "198.51.100.2"],
    );
    expect(proxied).toEqual([200, 200, 429, 200]);
    // Only what trusted proxies have added counts: the rest anybody can make up.
    expect(
      await statuses(
        app,
        ["192.0.2.1", "203.0.113.1, 198.51.100.1"],
        ["203.0.113.9", "198.51.100.7"],
        ["203.0.113.9", "198.51.100.8"],
        ["203.0.113.9", "198.51.100.9"],
      ),
    ).toEqual([429, 200, 200, 429]);
    await app.close();
  });

  it("is refused as a setting where it is none", async () => {
    await expect(build({ DVCR_SERVE_TRUSTED_PROXIES: "proxy.example.com" })).rejects.toMatchObject({
      code: "E_CONFIG",
    });
  });
});

describe("a body that comes too slowly", () => {
  /** What the server says to a request whose body stays away, and that it then ends the connection. */
  async function answerTo(app: FastifyInstance, head: string, part = "{"): Promise<string> {
    await app.listen({ host: "127.0.0.1", port: 0 });
    const socket = connect((app.server.address() as AddressInfo).port, "127.0.0.1");
    socket.write(`${head}\r\nHost: localhost\r\n\r\n${part}`);
    let answer = "";
    for await (const piece of socket) answer += String(piece);
    return answer;
  }
  const build = async () => {
    const app = await buildServeApp({
      config: parseServeConfig({}),
      log: createLogger({ output: { write: () => undefined } }),
      isAuthenticated: false,
      notReady: () => undefined,
      bodyMilliseconds: 100,
    });
    app.post("/thing", () => "taken");
    app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => {
      done(null, body);
    });
    app.post("/upload/one", () => "taken");
    return app;
  };

  it.each(["Content-Length: 100", "Transfer-Encoding: chunked"])("is answered 408 (%s)", async (length) => {
    const app = await build();
    const answer = await answerTo(
      app,
      `POST /thing HTTP/1.1\r\nContent-Type: text/x\r\n${length}`,
      length.startsWith("T") ? "1\r\n{\r\n" : "{",
    );
    expect(answer).toMatch(/^HTTP\/1\.1 408 [^]*connection: close[^]*E_BODY_TIMEOUT/i);
    await app.close();
  });

  it("is waited for where it is an upload", async () => {
    const app = await build();
    await app.listen({ host: "127.0.0.1", port: 0 });
    const socket = connect((app.server.address() as AddressInfo).port, "127.0.0.1");
    socket.write(
      "POST /upload/one HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: " +
        "text/x\r\nContent-Length: 2\r\n\r\n{",
    );
    setTimeout(() => {
      socket.write("}");
    }, 300);
    let answer = "";
    for await (const piece of socket) answer += String(piece);
    expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*taken$/);
    await app.close();
  });
});
