/** The token service that a registry of the distribution project sends its clients to (its "token authentication"). */
import { randomUUID, sign, createPrivateKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { testUser } from "./registry.ts";
import { temporaryDirectory, tool } from "./tools.ts";

export interface TokenService extends AsyncDisposable {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  /** Certificate of the key that signs, PEM. */
  readonly certificate: string;
  /** Scopes that were asked for, in order. */
  readonly scopes: string[];
}

const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

export async function startTokenService(): Promise<TokenService> {
  const work = await temporaryDirectory();
  const [key, certificate] = [join(work.path, "key"), join(work.path, "crt")];
  await tool(
    "openssl",
    "req",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-x509",
    "-days",
    "2",
    "-subj",
    "/CN=tokens",
    "-keyout",
    key,
    "-out",
    certificate,
  );
  const privateKey = createPrivateKey(await readFile(key));
  const x5c = [new X509Certificate(await readFile(certificate)).raw.toString("base64")];
  const [service, issuer] = ["test registry", "test tokens"];
  const scopes: string[] = [];

  /** A signed token that allows what was asked for (RFC 7515 with ES256). */
  const tokenFor = (asked: readonly string[]): string => {
    const now = Math.floor(Date.now() / 1000);
    const access = asked.map((scope) => {
      const [type, name, actions = ""] = scope.split(":");
      return { type, name, actions: actions.split(",") };
    });
    const claims = {
      iss: issuer,
      sub: testUser.name,
      aud: service,
      iat: now,
      nbf: now - 60,
      exp: now + 300,
      jti: randomUUID(),
      access,
    };
    const signed = `${base64({ typ: "JWT", alg: "ES256", x5c })}.${base64(claims)}`;
    const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
    return `${signed}.${signature.toString("base64url")}`;
  };

  const expected = `Basic ${Buffer.from(`${testUser.name}:${testUser.password}`).toString("base64")}`;
  const server = createServer((request, response) => {
    if (request.headers.authorization !== expected) return void response.writeHead(401).end("{}");
    const asked = new URL(request.url ?? "", "http://x").searchParams.getAll("scope");
    scopes.push(...asked);
    response
      .writeHead(200, { "content-type": "application/json" })
      .end(JSON.stringify({ token: tokenFor(asked), expires_in: 300 }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    realm: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/token`,
    service,
    issuer,
    certificate,
    scopes,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
      await work[Symbol.asyncDispose]();
    },
  };
}
