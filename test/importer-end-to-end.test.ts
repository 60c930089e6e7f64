import { once } from "node:events";
import { createReadStream, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { fileDigest, makeRawDisk, qemuConvert, qemuRawDigest } from "./support/disks.ts";
import { startExecutable, writeAuthConfig, type PodExecutable } from "./support/executable.ts";
import { pullDisk } from "./support/pulled.ts";
import { startRegistry, testUser, type TestRegistry } from "./support/registry.ts";

const megabytes = 48;
let directory: string;
let disk: string;
let registry: TestRegistry;
let web: Server;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-import-"));
  const raw = await makeRawDisk(join(directory, "disk.raw"), megabytes);
  disk = await qemuConvert(raw, join(directory, "disk.qcow2"), "-O", "qcow2", "-c");
  registry = await startRegistry({ auth: true, tls: true });
  web = createServer((incoming, response) => {
    if (incoming.url !== "/disk.qcow2") return void response.writeHead(404).end();
    response.writeHead(200, { "content-length": statSync(disk).size });
    createReadStream(disk).pipe(response);
  }).listen(0, "127.0.0.1");
  await once(web, "listening");
});

afterAll(async () => {
  web.close();
  web.closeAllConnections();
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

/** The environment as the controller writes it, empty variables included. */
function startFor(repository: string, path: string, environment: Record<string, string> = {}): PodExecutable {
  return startExecutable("dvcr-importer", directory, {
    IMPORTER_SOURCE: "http",
    IMPORTER_ENDPOINT: `http://127.0.0.1:${(web.address() as AddressInfo).port}${path}`,
    IMPORTER_CONTENTTYPE: "",
    IMPORTER_IMAGE_SIZE: "",
    FILESYSTEM_OVERHEAD: "",
    INSECURE_TLS: "false",
    IMPORTER_DISK_ID: "",
    IMPORTER_UUID: "",
    http_proxy: "",
    https_proxy: "",
    no_proxy: "",
    IMPORTER_DESTINATION_ENDPOINT: `${registry.host}/${repository}:0a1b`,
    IMPORTER_DESTINATION_AUTH_CONFIG: writeAuthConfig(directory, registry),
    DESTINATION_INSECURE_TLS: "true",
    ...environment,
  });
}

describe("dvcr-importer", () => {
  it("stores what a URL holds as the raw disk that qemu-img makes of it, verified by checksum", async () => {
    const importer = startFor("vi/ns/good", "/disk.qcow2", {
      IMPORTER_CHECKSUMS: `sha256:${(await fileDigest(disk)).toUpperCase()}`,
    });
    expect(await importer.exit).toBe(0);
    const pulled = await pullDisk(
      `docker://${registry.host}/vi/ns/good:0a1b`,
      directory,
      "--src-creds",
      `${testUser.name}:${testUser.password}`,
    );
    expect(pulled.digest).toBe(await qemuRawDigest(disk, directory));
    expect(importer.message()).toMatchObject({
      "source-image-size": pulled.layerSize,
      "source-image-virtual-size": megabytes * 2 ** 20,
      "source-image-format": "raw",
    });
    expect(importer.message()).not.toHaveProperty("error-message");
  });

  it("with the wrong checksum leaves nothing in the registry", async () => {
    const importer = startFor("vi/ns/checksum", "/disk.qcow2", { IMPORTER_CHECKSUMS: `md5:${"0".repeat(32)}` });
    expect(await importer.exit).toBe(0);
    expect(importer.message()["error-message"]).toMatch(
      /^E_CHECKSUM_MISMATCH: md5 sum mismatch: 0{32} != [0-9a-f]{32}\. /,
    );
    expect([await registry.tags("vi/ns/checksum"), await registry.sessions("vi/ns/checksum")]).toEqual([[], []]);
  });

  it("verifies its registry by IMPORTER_DESTINATION_CA_BUNDLE, and trusts none of its CA without it", async () => {
    const strict = { DESTINATION_INSECURE_TLS: "false" };
    const without = startFor("vi/ns/verified", "/disk.qcow2", strict);
    expect(await without.exit).toBe(0);
    expect(without.message()["error-message"]).toMatch(/^E_REGISTRY_TLS: .*IMPORTER_DESTINATION_CA_BUNDLE/);
    const given = startFor("vi/ns/verified", "/disk.qcow2", {
      ...strict,
      IMPORTER_DESTINATION_CA_BUNDLE: registry.certDirectory,
    });
    expect(await given.exit).toBe(0);
    expect(given.message()).not.toHaveProperty("error-message");
    expect(await registry.tags("vi/ns/verified")).toEqual(["0a1b"]);
  });

  it("tells a broken URL at once instead of trying again", async () => {
    const importer = startFor("vi/ns/missing", "/other.qcow2");
    expect(await importer.exit).toBe(0);
    expect(importer.message()["error-message"]).toMatch(/^E_SOURCE_NOT_FOUND: .*404/);
  });
});
