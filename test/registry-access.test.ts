/** How `dvcr` reaches a real registry: through proxies, with tokens, with passwords out of a credential helper. */
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { runCredentialHelper } from "../src/registry/credential-helper.ts";
import { dvcr, dvcrImportWith } from "./support/cli.ts";
import { fileDigest, makeRawDisk, qemuConvert } from "./support/disks.ts";
import { startRegistry, testUser } from "./support/registry.ts";
import { umociDiskDigest } from "./support/pulled.ts";
import { startTokenService } from "./support/token-service.ts";
import { startTunnelProxy } from "./support/proxy.ts";

let directory: string;
let disk: string;
let digest: string;
let layouts = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-access-"));
  const raw = await makeRawDisk(join(directory, "disk.raw"), 24);
  digest = await fileDigest(raw);
  disk = await qemuConvert(raw, join(directory, "disk.qcow2"), "-O", "qcow2");
});

afterAll(() => rm(directory, { recursive: true }));

/** A `docker-credential-NAME` and the PATH on which it is found; it writes down what it was asked. */
async function makeHelper(name: string, script: string): Promise<{ path: string; asked: string }> {
  const path = await mkdtemp(join(directory, "helper-"));
  const program = join(path, `docker-credential-${name}`);
  const asked = join(path, "asked");
  await writeFile(program, `#!/bin/sh\necho "$1 $(cat)" >> ${asked}\n${script}\n`);
  await chmod(program, 0o755);
  return { path: `${path}:${process.env["PATH"] ?? ""}`, asked };
}

/** Imports the disk into the registry, then out of it into a layout, and compares. */
async function there(host: string, env: NodeJS.ProcessEnv, ...flags: string[]): Promise<void> {
  await dvcrImportWith({ env }, disk, `docker://${host}/r:v1`, ...flags);
  const layout = join(directory, `layout-${String((layouts += 1))}`);
  await dvcrImportWith(
    { env },
    `docker://${host}/r:v1`,
    `oci:${layout}:v1`,
    "--src-tls-verify=false",
    ...flags.map((flag) => flag.replace("--dest-", "--src-")),
  );
  expect(await umociDiskDigest(layout, "v1", await mkdtemp(join(directory, "bundle-")))).toBe(digest);
}

describe("a credential helper", () => {
  it("gives the password for a registry that asks for one, and is asked for nothing else", async () => {
    await using registry = await startRegistry({ auth: true });
    const { path, asked } = await makeHelper(
      "test",
      `echo '${JSON.stringify({ ServerURL: "x", Username: testUser.name, Secret: testUser.password })}'`,
    );
    const config = await mkdtemp(join(directory, "docker-"));
    await writeFile(join(config, "config.json"), JSON.stringify({ credHelpers: { [registry.host]: "test" } }));
    await there(registry.host, { PATH: path, DOCKER_CONFIG: config, HOME: config });
    expect(new Set((await readFile(asked, "utf8")).trim().split("\n"))).toEqual(new Set([`get ${registry.host}`]));
  });

  it("that is missing or fails is told by its name, never by what it printed", async () => {
    await using registry = await startRegistry({ auth: true });
    const config = await mkdtemp(join(directory, "docker-"));
    await writeFile(join(config, "config.json"), JSON.stringify({ credsStore: "test" }));
    const { path } = await makeHelper("test", "echo pa55word; exit 3");
    for (const env of [
      { DOCKER_CONFIG: config, HOME: config },
      { DOCKER_CONFIG: config, HOME: config, PATH: path },
    ]) {
      const finished = await dvcr(
        ["import", "--quiet", "--dest-tls-verify=false", disk, `docker://${registry.host}/r:v1`],
        { env },
      );
      expect(finished.stderr).toMatch(
        /^E_USAGE: the credential helper docker-credential-test failed for 127\.0\.0\.1:\d+ \((?:ENOENT|3)\)/m,
      );
      expect(finished.stderr).not.toContain("pa55word");
    }
  });

  it("knows nothing of a server in its own words; a name with a path in it is not run", async () => {
    const { path } = await makeHelper("none", "echo 'credentials not found in native keychain'; exit 1");
    const before = process.env["PATH"];
    process.env["PATH"] = path;
    try {
      expect(await runCredentialHelper("none", "a.x")).toBeUndefined();
    } finally {
      process.env["PATH"] = before;
    }
    await expect(runCredentialHelper("../none", "a.x")).rejects.toMatchObject({ code: "E_USAGE" });
  });
});

describe("a registry that asks for tokens", () => {
  it("is pushed to and imported from with tokens for the one repository", async () => {
    await using service = await startTokenService();
    await using registry = await startRegistry({ token: service });
    const creds = `${testUser.name}:${testUser.password}`;
    await there(registry.host, {}, `--dest-creds=${creds}`);
    expect(service.scopes).toEqual(expect.arrayContaining(["repository:r:pull,push", "repository:r:pull"]));
    const denied = await dvcr([
      "import",
      "--quiet",
      "--dest-tls-verify=false",
      "--dest-creds",
      `${testUser.name}:wr0ng`,
      disk,
      `docker://${registry.host}/r:v2`,
    ]);
    expect([denied.code, denied.stderr]).toEqual([3, expect.stringMatching(/^E_REGISTRY_DENIED: (?![^]*wr0ng)/)]);
    expect(await registry.tags("r")).toEqual(["v1"]);
    expect(await registry.sessions("r")).toEqual([]);
  });
});

describe("a proxy", () => {
  it("from the environment carries pushes and pulls, and not those to hosts in NO_PROXY", async () => {
    await using registry = await startRegistry();
    using proxy = await startTunnelProxy();
    const { proxied } = proxy;
    const { url } = proxy;
    const env = { HTTP_PROXY: url, HTTPS_PROXY: url, http_proxy: "", https_proxy: "", no_proxy: "", NO_PROXY: "" };
    await there(registry.host, env);
    expect(new Set(proxied)).toEqual(new Set([registry.host]));
    proxied.length = 0;
    await there(registry.host, { ...env, NO_PROXY: "127.0.0.1" });
    expect(proxied).toEqual([]);
  });
});
