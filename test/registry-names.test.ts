import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseChallenges } from "../src/registry/challenge.ts";
import { credentialSource, defaultAuthFiles } from "../src/registry/credentials.ts";
import { formatReference, manifestName, parseReference } from "../src/registry/reference.ts";
import { temporaryDirectory } from "./support/tools.ts";

const digest = `sha256:${"ab".repeat(32)}`;
const usage = expect.objectContaining({ code: "E_USAGE" }) as Error;

test.each([
  ["ubuntu", { host: "docker.io", repository: "library/ubuntu" }],
  ["user/app:1.0", { host: "docker.io", repository: "user/app", tag: "1.0" }],
  ["index.docker.io/user/app", { host: "docker.io", repository: "user/app" }],
  ["localhost/app", { host: "localhost", repository: "app" }],
  ["host:5000/a/b__c/d-e.f:T_1", { host: "host:5000", repository: "a/b__c/d-e.f", tag: "T_1" }],
  ["[::1]:5000/a", { host: "[::1]:5000", repository: "a" }],
  [
    `dvcr.d8-virtualization.svc/cvi/x:uid@${digest}`,
    { host: "dvcr.d8-virtualization.svc", repository: "cvi/x", tag: "uid", digest },
  ],
])("%s is understood", (text, expected) => {
  expect(parseReference(text)).toEqual(expected);
});

test("references are written in full and name a manifest", () => {
  expect(formatReference(parseReference(`h.x/a:t@${digest}`))).toBe(`h.x/a:t@${digest}`);
  expect(manifestName(parseReference(`h.x/a:t@${digest}`))).toBe(digest);
  expect(manifestName(parseReference("h.x/a"))).toBe("latest");
});

test.each([
  "",
  "host:5000/",
  "h.x/A",
  "h.x/a//b",
  "h.x/a:",
  "h.x/a:-t",
  "h.x/-a",
  "h_.x/a",
  "h.x:99999/a",
  "h.x/a@sha256:12",
  "h.x/a b",
  "-h.x/a",
  `h.x/${"a".repeat(256)}`,
])("%j is refused", (text) => {
  expect(() => parseReference(text)).toThrow(usage);
});

test("credentials that were typed into a reference are not repeated", () => {
  expect(() => parseReference("user:hunter2@host.x/app")).toThrow(
    expect.not.objectContaining({ message: expect.stringContaining("hunter2") as string }) as Error,
  );
});

test("challenges are parsed with quoted commas, several schemes and several lines", () => {
  expect(parseChallenges(`Bearer realm="https://a/token",service="s",scope="repository:x:pull,push"`)).toEqual([
    { scheme: "bearer", parameters: { realm: "https://a/token", service: "s", scope: "repository:x:pull,push" } },
  ]);
  expect(parseChallenges([`Basic realm="a \\"b\\""`, `Negotiate, Bearer Realm=x`])).toEqual([
    { scheme: "basic", parameters: { realm: 'a "b"' } },
    { scheme: "negotiate", parameters: {} },
    { scheme: "bearer", parameters: { realm: "x" } },
  ]);
  expect(parseChallenges(undefined)).toEqual([]);
  expect(parseChallenges('"""')).toEqual([]);
});

const encode = (text: string): string => Buffer.from(text).toString("base64");

test("docker configs are read in all their forms, by exact key before normalised ones", async () => {
  await using work = await temporaryDirectory();
  const authFile = join(work.path, "auth.json");
  const auths = {
    "https://a.x/v1/": { auth: encode("norm:1") },
    "a.x": { auth: encode("exact:with:colon") },
    "https://b.x/v2/": { username: "u", password: "p" },
    "c.x/team/app": { auth: encode("app:1") },
    "c.x/team": { auth: encode("team:1") },
    "d.x": { auth: encode("u:"), identitytoken: "refresh" },
    "e.x": { registrytoken: "ready" },
    "f.x": {},
    "https://index.docker.io/v1/": { auth: encode("hub:1") },
    "g.x.evil": { auth: encode("evil:1") },
  };
  await writeFile(authFile, JSON.stringify({ auths }));
  const find = (host: string, repository = "r") => credentialSource(host, repository, { authFile })();
  expect(await find("a.x")).toEqual({ username: "exact", password: "with:colon" });
  expect(await find("b.x")).toEqual({ username: "u", password: "p" });
  expect(await find("c.x", "team/app")).toMatchObject({ username: "app" });
  expect(await find("c.x", "team/other")).toMatchObject({ username: "team" });
  expect(await find("c.x", "teamwork")).toBeUndefined();
  expect(await find("d.x")).toMatchObject({ identityToken: "refresh" });
  expect(await find("e.x")).toEqual({ registryToken: "ready" });
  expect(await find("docker.io")).toMatchObject({ username: "hub" });
  expect(await find("f.x")).toBeUndefined();
  expect(await find("g.x")).toBeUndefined();
});

test("given credentials win; a mounted secret's directory works; files are found in the tools' order", async () => {
  await using work = await temporaryDirectory();
  await writeFile(join(work.path, ".dockerconfigjson"), JSON.stringify({ auths: { "a.x": { auth: encode("u:p") } } }));
  expect(await credentialSource("a.x", "r", { userPassword: "me:pw", authFile: work.path })()).toEqual({
    username: "me",
    password: "pw",
  });
  expect(await credentialSource("a.x", "r", { authFile: work.path })()).toMatchObject({ username: "u" });
  const defaults = [join(work.path, "missing"), join(work.path, ".dockerconfigjson")];
  expect(await credentialSource("a.x", "r", { defaultAuthFiles: defaults })()).toMatchObject({ username: "u" });
  expect(defaultAuthFiles({ REGISTRY_AUTH_FILE: "/f", XDG_RUNTIME_DIR: "/run/u", HOME: "/h" })).toEqual([
    "/f",
    "/run/u/containers/auth.json",
    "/h/.config/containers/auth.json",
    "/h/.docker/config.json",
  ]);
});

test("unusable credentials are E_USAGE and never quoted", async () => {
  await using work = await temporaryDirectory();
  const authFile = join(work.path, "auth.json");
  await writeFile(authFile, `{"auths": {"a.x": {"auth": "c2VjcmV0"`);
  const error: unknown = await credentialSource("a.x", "r", { authFile })().catch((reason: unknown) => reason);
  expect(error).toEqual(usage);
  expect(String(error)).not.toContain("c2VjcmV0");
  await expect(credentialSource("a.x", "r", { authFile: join(work.path, "none") })()).rejects.toEqual(usage);
  expect(() => credentialSource("a.x", "r", { userPassword: "no-colon" })).toThrow(usage);
});

test("credential helpers are asked by credHelpers first, by credsStore last, and only where they may run", async () => {
  await using work = await temporaryDirectory();
  const authFile = join(work.path, "config.json");
  await writeFile(
    authFile,
    JSON.stringify({
      auths: { "own.x": { auth: encode("file:1") }, "file.x": { auth: encode("file:2") } },
      credHelpers: { "own.x": "ecr", "https://index.docker.io/v1/": "hub" },
      credsStore: "desktop",
    }),
  );
  const asked: string[] = [];
  const helper = (name: string, server: string) => {
    asked.push(`${name} ${server}`);
    return Promise.resolve({ username: name, password: "pw" });
  };
  const find = (host: string) => credentialSource(host, "r", { authFile, helper })();
  expect(await find("own.x")).toMatchObject({ username: "ecr" });
  expect(await find("file.x")).toMatchObject({ username: "file" });
  expect(await find("other.x:5000")).toMatchObject({ username: "desktop" });
  expect(await find("docker.io")).toMatchObject({ username: "hub" });
  expect(asked).toEqual(["ecr own.x", "desktop other.x:5000", "hub https://index.docker.io/v1/"]);
  expect(await credentialSource("own.x", "r", { authFile })()).toMatchObject({ username: "file" });
  expect(await credentialSource("other.x", "r", { authFile })()).toBeUndefined();
});
